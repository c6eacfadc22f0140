"""Checks of a declaration's context fields. Those that the model reads are columns of the events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from index_store.declaration.values import FeatureError, as_key

if TYPE_CHECKING:
    from index_store.declaration.spec import FeatureSpec

REQUEST_ID = "request_id"
"""A column of the events that a model follower has read from the change log."""


def check_context_fields(spec: FeatureSpec) -> None:
    """Checks `model` and `serve_as` of all fields of a declaration.

    Raises:
        FeatureError: a field of user or item has one of them, a field that the model reads is not categorical or has
            the name of another column of the events, or a value to serve as is given for what the model does not read
            or cannot learn.
    """
    for entry in (*spec.user_fields, *spec.item_fields):
        if entry.model or entry.serve_as:
            raise FeatureError(entry.name, f"model or serve_as is given for {entry.name!r}, which is not a context "
                                           "field", "leave it out: the model reads all fields of users and ads")
    taken = [*(task.name for task in spec.tasks), REQUEST_ID]
    for entry in spec.context_fields:
        if entry.serve_as and not entry.model:
            raise FeatureError(entry.name, f"{entry.name!r} is to be served as {entry.serve_as!r}, but the model does "
                                           "not read it", 'add "model": true, or leave serve_as out')
        if not entry.model:
            continue
        if entry.kind != "categorical":
            raise FeatureError(entry.name, f"the model is to read the context field {entry.name!r}, which is "
                                           f"{entry.kind}", "declare it categorical, and cut numbers into ranges")
        if entry.name in taken:
            raise FeatureError(entry.name, f"the model is to read the context field {entry.name!r}, but events have "
                                           "another column of this name", "rename the field")
        if entry.serve_as and spec.negatives == "sampled":
            raise FeatureError(entry.name, f"{entry.name!r} is to be served as {entry.serve_as!r}, but a log of "
                                           "positives cannot tell what a position does: it shifts all ads alike",
                               "leave the field out, or bring a log of impressions")
        if entry.serve_as:
            as_key(entry.serve_as, entry.name)
