"""Declarations of two bundles: what one lacks of what the requests of the other bring."""

from __future__ import annotations

from pathlib import Path

from index_store.bundle import layout
from index_store.bundle.bundle import Bundle
from index_store.declaration.spec import FeatureSpec


def lacking(folder: Path, other: Path) -> list[str]:
    """What requests, ads and campaigns of another bundle need and this one has not, in words; empty if nothing.

    A field that only this bundle has is no hindrance: requests leave it out, and it counts as unknown.

    Args:
        folder: the bundle.
        other: the bundle whose requests it is to answer; both are sound.
    """
    mine, theirs = Bundle.open(folder, verify=False), Bundle.open(other, verify=False)
    has, needs = _declared(mine.content.encoder.spec), _declared(theirs.content.encoder.spec)
    found = [f"{name} ({kind})" if name not in has else f"{name} ({kind}; here it is {has[name]})"
             for name, kind in needs.items() if has.get(name) != kind]
    if layout.CALIBRATION in theirs.manifest.files and layout.CALIBRATION not in mine.manifest.files:
        found.append("a calibration, by which eCPM ranks")
    return found


def _declared(spec: FeatureSpec) -> dict[str, str]:
    """Everything that a request, an ad or a campaign can name -> its kind."""
    groups = {"user field": spec.user_fields, "ad field": spec.item_fields, "context field": spec.context_fields}
    fields = {f"{group} {field.name}": field.kind + (f" of the {field.role}" if field.role else "")
              for group, entries in groups.items() for field in entries}
    tasks = {f"task {task.name}": f"{task.bid_type or 'no'} bids pay for it" for task in spec.tasks}
    return fields | tasks
