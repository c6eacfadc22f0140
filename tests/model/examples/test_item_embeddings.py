"""Item embeddings are those of the rows that are asked for, however many."""

import numpy as np
import torch

from model.examples import item_embeddings
from model.examples.item_embeddings import ItemEmbeddings


def test_rows_are_embedded_in_chunks_without_gradients(monkeypatch):
    monkeypatch.setattr(item_embeddings, "CHUNK", 4)
    asked = []

    def embed(rows):
        assert not torch.is_grad_enabled()
        asked.append(len(rows))
        return np.stack([rows, rows * 2], axis=1).astype(np.float32)

    found = ItemEmbeddings(20, 2, embed)
    rows = np.array([7, 3, 3, 19, 0, 5, 5, 5, 1, 2])
    assert len(found) == 20
    assert np.array_equal(found[rows], np.stack([rows, rows * 2], axis=1))
    assert asked == [4, 4, 2]
    assert found[rows[:0]].shape == (0, 2)
