"""Test-time training (Section 3.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from model.config.errors import ConfigError
from model.config.flag import absolute, flag, like


@dataclass(frozen=True)
class PairsConfig:
    """Settings of test-time training (Section 3.6): the node pairs that a run learns in addition to the log.

    Attributes:
        phi: least phi_IR of each level, from the leaf nodes upwards; their number is phi_DEP.
        interest: where a user's interests are taken from: train positives, recorded beams, or both.
        beams: files of recorded beams.
        control: `real` trains on the log alone, `random` on as many pairs with random nodes; empty for the pairs.
    """

    phi: tuple[float, ...] = field(default=(), metadata=flag(
        "test-time training of RUN: also learn node pairs in which the user is interested in at least this share of "
        "the node's children, one share per level from the leaf nodes upwards; the tree and all settings but the "
        "epochs are RUN's, the learning rates a tenth (default with --beams: 0.8,0.4)", metavar="0.8,0.4",
        parse=like("0.8,0.4", lambda text: tuple(map(float, text.split(","))))))
    interest: Literal["history", "beam", "union"] = field(default="history", metadata=flag(
        "where --phi takes a user's interests from (default: beam with --beams, else history)"))
    beams: tuple[str, ...] = field(default=(), metadata=flag(
        "beams that the service recorded with a bundle of RUN", metavar="FILE", parse=absolute,
        many=True))
    control: Literal["", "real", "random"] = field(default="", metadata=flag(
        "a control of --phi: the same epochs on the log alone, or on as many pairs with random nodes"))

    def __post_init__(self) -> None:
        if bool(self.beams) != (self.interest != "history"):
            raise ConfigError(f"the interest is {self.interest} and {len(self.beams)} files of beams are given; give "
                              "files with beam or union, and none with history")
