"""Changes of ads as the log hands them out."""

from index_store.changes.change_log import Change, Kind


def changes(*pairs, after=0):
    """Changes of (ad id, status), numbered from `after` + 1."""
    return [Change(sequence=sequence, at=0.0, kind=Kind.AD, id=ad_id, fields={"status": status})
            for sequence, (ad_id, status) in enumerate(pairs, start=after + 1)]
