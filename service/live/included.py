"""Whether a bundle and a change log fit together, by the number of the last change that the bundle includes."""

from __future__ import annotations

from index_store.changes.change_log import NEVER_CHANGED, ChangeLog, ChangeLogError, TrimmedError


class DoesNotFitError(ChangeLogError):
    """The bundle must not serve with this change log."""


def check_includes(log: ChangeLog | None, included: int) -> None:
    """Checks that a log goes on where a bundle ends.

    Args:
        log: None if nobody has written to it yet.
        included: of the bundle; 0 for none.

    Raises:
        DoesNotFitError: the log ends before, or what comes next was trimmed.
        ChangeLogError: the log cannot be read.
    """
    last, trimmed = (NEVER_CHANGED, NEVER_CHANGED) if log is None else (log.last(), log.trimmed())
    if included > last:
        raise DoesNotFitError(f"the bundle includes the changes up to {included}, but the change log ends with {last}",
                              "the log was lost, or belongs to another index: restore a backup, or name its own log")
    if included < trimmed:
        error = TrimmedError("the change log", included, trimmed)
        raise DoesNotFitError(f"the bundle includes the changes up to {included}, and {error.fact}", error.remedy)
