"""Files of the context that the model reads, checked before use. A bundle whose model reads none has none of them."""

from __future__ import annotations

import numpy as np

from index_store.bundle import layout
from index_store.bundle.files import BundleFiles, BundleWriter
from index_store.declaration.spec import FeatureSpec
from index_store.features.context import ContextTables, fixed_ids
from index_store.features.encoder import UNKNOWN, FeatureEncoder


def write_context(writer: BundleWriter, spec: FeatureSpec, context: ContextTables) -> None:
    """Writes the rows of each field."""
    for field, embeddings, shifts in zip(spec.model_context, context.embeddings, context.shifts, strict=True):
        if embeddings is not None:
            writer.array(layout.context_array("embeddings", field.name), embeddings)
        writer.array(layout.context_array("shifts", field.name), shifts)


def read_context(files: BundleFiles, encoder: FeatureEncoder) -> ContextTables | None:
    """What context adds to embeddings and logits; None if the model reads none.

    Raises:
        BundleError: a file is missing, has another shape, or the value that a field is served at is not in the log.
    """
    fields, fixed = encoder.spec.model_context, fixed_ids(encoder)
    if not fields:
        return None
    width, tasks = files.manifest.dims["user_embedding"], len(encoder.spec.tasks)
    embeddings, shifts = [], []
    for field, at in zip(fields, fixed, strict=True):
        rows = encoder.vocabulary_size("context", field.name)
        if at == UNKNOWN:
            raise files.error(layout.vocabulary(f"context.{field.name}"),
                              f"lacks {field.serve_as!r}, which {layout.FEATURES} says to serve as")
        embeddings.append(None if field.serve_as else
                          files.array(layout.context_array("embeddings", field.name), np.float32, (rows, width)))
        shifts.append(files.array(layout.context_array("shifts", field.name), np.float32, (rows, tasks)))
    return ContextTables(tuple(embeddings), tuple(shifts), fixed)
