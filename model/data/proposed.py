"""Any log, brought in by guesses: from a file, a query or data frames to a data folder and a page of reasons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from index_store.declaration.spec import FeatureSpec
from model.data.tables import SPEC, DataError, prepare
from model.infer.guess import Guess
from model.infer.proposal import Proposal, propose
from model.infer.reading import Log, read_frames, read_source
from model.infer.roles import Given

REASONS = "features.md"
"""Page beside `features.json` that says why it is so."""


@dataclass(frozen=True)
class Proposed:
    """The declaration that was guessed for a log.

    Attributes:
        proposal: it, with the tables.
    """

    proposal: Proposal

    @property
    def spec(self) -> FeatureSpec:
        """The declaration."""
        return self.proposal.spec

    @property
    def guesses(self) -> Sequence[Guess]:
        """What was guessed, each with its reason."""
        return self.proposal.guesses

    def __str__(self) -> str:
        return "\n".join(f"{one.about}: {one.value}\n    {one.why}" for one in self.guesses)

    def save(self, folder: Path | str) -> None:
        """Writes users, ads, events and test events, `features.json` to be edited, and the reasons in `features.md`.

        `python -m model train --data FOLDER` reads it.

        Raises:
            DataError: there is a `features.json` already, which may have been edited.
        """
        folder = Path(folder)
        if (folder / SPEC).exists():
            raise DataError(f"{folder / SPEC} exists, and what was edited there would be lost; name another folder, or "
                            "remove it")
        prepare(folder)
        self.proposal.write_tables(folder)
        (folder / REASONS).write_text(_page(self.guesses))
        (folder / SPEC).write_text(_declaration(self.spec))


def from_frames(events: object, ads: object | None = None, users: object | None = None, *,
                test_events: object | None = None, user_id: str | None = None, ad_id: str | None = None,
                time: str | None = None, labels: Sequence[str] = ()) -> Proposed:
    """Guesses the declaration of data frames of pandas or polars, or of Arrow tables.

    Args:
        events: a row for each impression or positive; it may hold what describes users and ads too.
        ads, users: what describes them, with their ids; what they lack is taken from the events.
        test_events: held-out events; None holds some of the events out.
        user_id, ad_id, time: columns of the events, guessed if they are None. `none` says that there are no user ids,
            or no times.
        labels: columns of the events that hold labels; guessed if there are none.

    Raises:
        FeatureError: a frame cannot be read, or a column that is needed is not found.
    """
    frames = {"events": events, "ads": ads, "users": users, "test_events": test_events}
    log = read_frames({name: frame for name, frame in frames.items() if frame is not None})
    return _proposed(log, Given(user=user_id, ad=ad_id, time=time, labels=tuple(labels)))


def from_source(source: str, given: Given) -> Proposed:
    """Guesses the declaration of a file, a folder, a DuckDB database or a query.

    Raises:
        FeatureError: it cannot be read, or a column that is needed is not found.
    """
    return _proposed(read_source(source), given)


def _proposed(log: Log, given: Given) -> Proposed:
    return Proposed(propose(log, given))


def _declaration(spec: FeatureSpec) -> str:
    """The declaration as JSON that is edited by hand: an entry a line, without keys that have their default."""
    def one(value: object) -> str:
        if isinstance(value, dict):
            value = {key: part for key, part in value.items() if part not in ("", 0) and (key, part) != ("weight", 1.0)}
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    lines = []
    for key, value in spec.to_json().items():
        entries = ",\n".join(f"    {one(entry)}" for entry in value) if isinstance(value, list | tuple) else ""
        text = f"[\n{entries}\n  ]" if entries else one(value)
        lines.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _page(guesses: Sequence[Guess]) -> str:
    """The reasons as a page of Markdown."""
    def cell(text: str) -> str:
        return text.replace("|", "\\|").replace("\n", " ")

    rows = "".join(f"| {cell(one.about)} | {cell(one.value)} | {cell(one.why)} |\n" for one in guesses)
    return (f"# Why {SPEC} is as it is\n\nEdit {SPEC}, not this page. Fields that were left out are columns of the "
            "tables "
            "still, and may be declared.\n\n| what | is taken for | because |\n|---|---|---|\n" + rows)
