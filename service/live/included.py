"""Whether a bundle and a change log fit together, by the last change that the bundle includes and the log's id."""

from __future__ import annotations

from index_store.changes.change_log import NEVER_CHANGED, PUT_BACK, ChangeLog, ChangeLogError, TrimmedError


class DoesNotFitError(ChangeLogError):
    """The bundle must not serve with this change log."""


def check_includes(log: ChangeLog | None, included: int, log_id: str) -> None:
    """Checks that a log goes on where a bundle ends.

    Args:
        log: None if nobody has written to it yet.
        included: of the bundle; 0 for none.
        log_id: of the log that the bundle includes changes of; empty if it is not known.

    Raises:
        DoesNotFitError: it is another log, ends before, or what comes next was trimmed.
        ChangeLogError: the log cannot be read.
    """
    if log is not None and log_id not in ("", log.log_id):
        raise DoesNotFitError(f"the bundle includes changes of change log {log_id}, but this is change log "
                              f"{log.log_id}", "name the log of the bundle's index, restore a backup of that log, or "
                                               "serve a bundle that was made with this one")
    last, trimmed = (NEVER_CHANGED, NEVER_CHANGED) if log is None else (log.last(), log.trimmed())
    if included > last:
        raise DoesNotFitError(f"the bundle includes the changes up to {included}, but the change log ends with {last}",
                              "the log was lost, or belongs to another index: restore a backup, or name its own log")
    if included < trimmed:
        error = TrimmedError("the change log", included, trimmed)
        raise DoesNotFitError(f"the bundle includes the changes up to {included}, and {error.fact}", error.remedy)


def check_goes_on(log: ChangeLog | None, applied: int) -> None:
    """Checks that a log has what other workers of the replica have applied: all have to answer from the same one.

    Args:
        log: None if nobody has written to it yet.
        applied: number of the last change that another worker has applied; 0 for none.

    Raises:
        DoesNotFitError: the log ends before.
        ChangeLogError: the log cannot be read.
    """
    last = NEVER_CHANGED if log is None else log.last()
    if applied > last:
        raise DoesNotFitError(f"another worker has applied change {applied}, but the change log ends with {last}",
                              f"it was replaced by another one: {PUT_BACK}")
