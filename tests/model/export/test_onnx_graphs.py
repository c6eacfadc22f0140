"""Exported graphs as functions compute what the folded network computes."""

import numpy as np
import pytest
import torch

from index_store.bundle import layout
from index_store.features.interaction import feature_names
from model.export.onnx_graphs import onnx_layers, onnx_user_tower, write_graphs
from model.network.folding import FoldedNetwork


class Folder:
    """Where `write_graphs` writes to."""

    def __init__(self, path):
        self._path = path

    def path(self, name):
        return self._path / name


@pytest.fixture(scope="module")
def written(tiny_run, tmp_path_factory):
    folder, folded = Folder(tmp_path_factory.mktemp("graphs")), FoldedNetwork(tiny_run.model)
    write_graphs(folder, tiny_run.model, folded, tiny_run.dataset.spec, half=False)
    return folder, folded


@pytest.mark.parametrize("rows", [1, 7])
def test_graphs_compute_what_torch_computes(tiny_run, written, rows, tolerance=1e-5):
    folder, folded = written
    rng = np.random.default_rng(rows)
    inputs = rng.normal(size=(rows, tiny_run.model.user_tables.width)).astype(np.float32)
    items = rng.normal(size=(rows, tiny_run.model.item_width)).astype(np.float32)
    interaction = rng.random((rows, len(feature_names(tiny_run.dataset.spec)))).astype(np.float32)
    with torch.no_grad():
        users = folded.user_part(tiny_run.model.layer(0).embed_users(torch.from_numpy(inputs)))
        parts = folded.item_part(torch.from_numpy(items))
        expected = folded.scorers[0](users[:1], parts, torch.from_numpy(interaction))
    assert np.allclose(onnx_user_tower(folder.path(layout.USER_TOWER))(inputs), users, atol=tolerance)
    found = onnx_layers(folder.path(layout.scorer(1)))(users[:1].numpy(), parts.numpy(), interaction)
    assert np.allclose(found, expected, atol=tolerance)


def test_the_library_of_operators_is_not_parsed_again_for_more_graphs(tiny_run, written, tmp_path, monkeypatch):
    """torch.onnx would parse it for each; a new torch that does so elsewhere costs time, and is noticed here."""
    parsed = []
    parse = torch.onnx._internal.exporter._registration._torchlib_registry.get_torchlib_ops
    monkeypatch.setattr(torch.onnx._internal.exporter._registration._torchlib_registry, "get_torchlib_ops",
                        lambda: parsed.append(1) or parse())
    write_graphs(Folder(tmp_path), tiny_run.model, written[1], tiny_run.dataset.spec, half=False)
    assert not parsed
