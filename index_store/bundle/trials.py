"""Trials: the file beside the pointer that names a bundle which answers a share of the users, and one in the shadow.

    bundles/trials   {"running": {"canary": {"bundle": "2026-11-25", "beside": "2026-11-24", "share": 0.05}},
                      "ended": {"shadow": {"bundle": "2026-11-23", "reason": "..."}}}

The service follows it as it follows the pointer. A trial lasts while the pointer names the bundle beside which it
began; no file means no trials.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from index_store.bundle import shared_file
from index_store.bundle.pointer import TRIALS, PointerChangedError, PointerError, check_name
from index_store.bundle.shared_file import Stamp

Role = Literal["canary", "shadow"]
ROLES: tuple[Role, ...] = get_args(Role)

_MOST_BYTES = 8192
_LONGEST_REASON = 400

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Trial:
    """A bundle on trial.

    Attributes:
        bundle: name of its folder.
        beside: the bundle that the pointer named when the trial began.
        share: of the users whom it answers, above 0 up to 1; 0 in the shadow, which answers nobody.
    """

    bundle: str
    beside: str
    share: float = 0.0


@dataclass(frozen=True)
class Ended:
    """The last trial of a role that has ended, and why."""

    bundle: str
    reason: str


@dataclass(frozen=True)
class Trials:
    """The file's content."""

    running: Mapping[Role, Trial] = field(default_factory=dict)
    ended: Mapping[Role, Ended] = field(default_factory=dict)

    def to(self, role: Role, trial: Trial) -> Trials:
        """With this trial, which begins or gets another share."""
        ended = {other: entry for other, entry in self.ended.items() if other != role}
        return Trials({**self.running, role: trial}, ended)

    def without(self, role: Role, reason: str) -> Trials:
        """Without the trial of a role, which must be running."""
        trial = self.running[role]
        running = {other: entry for other, entry in self.running.items() if other != role}
        return Trials(running, {**self.ended, role: Ended(trial.bundle, reason[:_LONGEST_REASON])})


def read(folder: Path) -> Trials:
    """Reads the file; without one there are no trials.

    Raises:
        PointerError: it is unreadable or says something else.
    """
    path = folder / TRIALS
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
        return Trials(_entries(content, "running", Trial), _entries(content, "ended", Ended))
    except FileNotFoundError:
        return Trials()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise PointerError(path, f"is not readable ({error})", "remove it, then begin the trials again") from error


def _entries(content: Any, part: str, kind: type[Entry]) -> dict[Role, Entry]:
    """One part of the file: role -> entry; raises ValueError or TypeError for what is none."""
    if not isinstance(content, dict) or not set(content) <= {"running", "ended"}:
        raise ValueError("expected an object with running and ended")
    found = {role: kind(**dict(entry)) for role, entry in dict(content.get(part, {})).items()}
    for role, entry in found.items():
        if role not in ROLES:
            raise ValueError(f"names the role {role!r}, expected {' or '.join(ROLES)}")
        _check(role, entry)
    return found


def _check(role: Role, entry: object) -> None:
    if isinstance(entry, Trial):
        for name in (entry.bundle, entry.beside):
            check_name(_text(name))
        most, share = (1.0 if role == "canary" else 0.0), entry.share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= most or (
                role == "canary" and share == 0):
            raise ValueError(f"gives the {role} {share!r:.40} of the users")
    elif isinstance(entry, Ended):
        check_name(_text(entry.bundle))
        _text(entry.reason)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"holds {value!r:.40}, expected a string")
    return value


def stamp(folder: Path) -> Stamp | None:
    """A value that changes whenever the file is replaced; None if there is none."""
    return shared_file.stamp(folder / TRIALS)


def replace(folder: Path, trials: Trials, expected: Trials) -> Stamp:
    """Replaces the file atomically.

    Args:
        folder: the bundle folder.
        trials: the new content.
        expected: the content that the caller last saw.

    Raises:
        PointerChangedError: the content is no longer the expected one.
        PointerError: it cannot be read or written.
    """
    path = folder / TRIALS

    def check() -> None:
        if (found := read(folder)) != expected:
            raise PointerChangedError(path, f"holds {found}, expected {expected}: it was replaced in the meantime",
                                      "look at it and try again")

    try:
        return shared_file.replace(path, asdict(trials), check)
    except OSError as error:
        raise PointerError(path, f"cannot be written ({error.strerror})",
                           "make the folder writable for the user that promotes bundles") from error
