"""Embeddings of all items, range by range: those of the item tower."""

from model.export import embedded as module
from model.export.embedded import embedded
from model.progress.ranges import ranges_of


def test_embeddings_are_those_of_the_tower_whatever_the_ranges(tiny_run, monkeypatch, tolerance=1e-6):
    expected = tiny_run.reader.all_items()
    assert embedded(tiny_run.reader).tobytes() == expected.tobytes()
    monkeypatch.setattr(module, "ranges_of", lambda n: ranges_of(n, 30))
    found = embedded(tiny_run.reader)
    assert found.shape == expected.shape
    assert abs(found - expected).max() < tolerance
