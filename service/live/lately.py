"""What happened to campaigns lately, among the changes that a bundle includes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from index_store.budgets.remembered import remembered_seconds
from index_store.changes.by_time import last_before
from index_store.changes.change_log import Change, ChangeLog, Kind

_PAGE = 1_000


def lately(log: ChangeLog, included: int, now: float) -> Iterator[list[Change]]:
    """Changes from which the state of the campaigns follows, in order: states from before, then all entries since.

    Args:
        log: of the bundle.
        included: number of the last change that the bundle includes.
        now: in seconds since 1970.

    Raises:
        ChangeLogError: the log cannot be read.
    """
    states = list(log.last_states(Kind.CAMPAIGN, log.last()))
    if not states:
        return
    begin = now - remembered_seconds(states)
    after = last_before(log, begin, included)
    # As if declared at once, so that no time passes between them: days that have begun since begin anew anyway.
    yield [replace(state, at=begin) for state in states if state.sequence <= after]
    while after < included and (page := log.read(after, min(_PAGE, included - after))):
        yield page
        after = page[-1].sequence
