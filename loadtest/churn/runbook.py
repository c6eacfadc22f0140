"""A runbook: steps in which kinds of changes are played while answers are asked for, and then compared."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.churn.catalogue import KINDS


class RunbookError(Exception):
    """A runbook cannot be played; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        name: in the report.
        mix: kind of change -> its weight among those of the step; none are made if it is empty.
        share: number of changes, as a share of the bundle's ads; 0 for as many as `seconds` allow.
        seconds: how long the step takes; with a share, as long as its changes take.
        rate: changes a second; None for that of the command.
        compare: users whose answers are compared with exhaustive ones after the step.
    """

    name: str
    mix: Mapping[str, float] = field(default_factory=dict)
    share: float = 0.0
    seconds: float = 0.0
    rate: int | None = None
    compare: int = 0

    def kinds(self, rate: int, n_ads: int, random: np.random.Generator) -> list[str]:
        """The kind of each change, given how many are made a second, and the number of ads in the bundle."""
        if not self.mix:
            return []
        number = max(1, round(self.share * n_ads if self.share else rate * self.seconds))
        weights = np.array([*self.mix.values()], float)
        drawn: list[str] = random.choice([*self.mix], number, p=weights / weights.sum()).tolist()
        return drawn


def _cycle(number: int) -> tuple[Step, Step]:
    return (Step(name=f"{number}: delete 1 %", mix={"delete": 1}, share=0.01),
            Step(name=f"{number}: add 1 %", mix={"add": 1}, share=0.01, compare=50))


MIX = {"pause": 0.7, "retarget": 0.2, "add": 0.1}
"""What advertisers do: shares of kinds of changes."""

RUNBOOKS: dict[str, tuple[Step, ...]] = {
    "mixed": (Step(name="quiet", seconds=20), Step(name="mixed", mix=MIX, seconds=30, compare=100)),
    "everything": (Step(name="quiet", seconds=10),
                   Step(name="everything", mix={**MIX, "delete": 0.05, "click": 0.5}, seconds=20, compare=100)),
    "cycles": (Step(name="before", compare=50), *(step for cycle in range(1, 11) for step in _cycle(cycle))),
    "standing": (Step(name="quiet", seconds=20), Step(name="pause 25 %", mix={"pause": 1}, share=0.25, rate=3_000),
                 Step(name="25 % paused", seconds=20), Step(name="add 10 %", mix={"add": 1}, share=0.1, rate=300),
                 Step(name="25 % paused, 10 % added", seconds=20, compare=50)),
}
"""The runbooks that have a name."""


def read_runbook(name: str) -> tuple[Step, ...]:
    """A runbook by its name in RUNBOOKS, or from a JSON file: a list of objects with the attributes of Step.

    Raises:
        RunbookError: there is none, or a step is not one.
    """
    if name in RUNBOOKS:
        return RUNBOOKS[name]
    try:
        steps = json.loads(Path(name).read_text())
    except (OSError, ValueError) as error:
        raise RunbookError(f"runbook {name} cannot be read ({error}); name one of {', '.join(RUNBOOKS)}, or a JSON "
                           "file") from error
    if not isinstance(steps, list) or not steps:
        raise RunbookError(f"runbook {name} is no list of steps; write [{{\"name\": …}}, …]")
    return tuple(_step(number, raw) for number, raw in enumerate(steps))


def _step(number: int, raw: Any) -> Step:
    known = [one.name for one in fields(Step)]
    if not isinstance(raw, dict) or "name" not in raw or raw.keys() - set(known):
        raise RunbookError(f"step {number} is {json.dumps(raw)}; it needs a name, and may have {', '.join(known[1:])}")
    step = Step(**raw)
    if not isinstance(step.mix, dict) or step.mix.keys() - KINDS.keys():
        raise RunbookError(f"step {number}: mix is {json.dumps(step.mix)}; give weights of {', '.join(KINDS)}")
    whole: Sequence[Any] = (step.compare, 1 if step.rate is None else step.rate)
    if not all(type(one) is int and one >= 0 for one in whole) or step.rate == 0:
        raise RunbookError(f"step {number}: compare is {step.compare} and rate {step.rate}; give integers, a rate of "
                           "at least 1")
    numbers: Sequence[Any] = (step.share, step.seconds, *step.mix.values())
    if not all(isinstance(one, (int, float)) and math.isfinite(one) and one >= 0 for one in numbers):
        raise RunbookError(f"step {number}: a number of {json.dumps(raw)} is below 0 or none; give others")
    if step.mix and not (sum(step.mix.values()) and step.share + step.seconds):
        raise RunbookError(f"step {number}: {json.dumps(raw)} makes no changes; give weights, and seconds or a share")
    return step
