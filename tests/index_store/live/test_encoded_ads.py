"""Encoded ads that more are added to."""

import numpy as np

from index_store.live.encoded_ads import GrowingAds
from tests.index_store.live.arrived import PlantedWorld


def test_first_ads_are_what_they_were_when_others_are_added():
    world = PlantedWorld()
    raw = [world.arrivals.features(world.raw(row)) for row in range(100)]
    first, more = (world.arrivals.encode([b"new"] * len(part), part) for part in (raw[:30], raw[30:]))
    growing = GrowingAds(first)
    before = growing.head(30)
    growing.append(more)
    after = growing.head(100)
    for head in (before, growing.head(30)):
        assert head.embeddings.tolist() == first.embeddings.tolist()
        assert head.leaves.tolist() == first.leaves.tolist()
        assert head.features.multi[0].values.tolist() == first.features.multi[0].values.tolist()
    assert len(after) == 100
    assert after.features.dense.tolist() == np.concatenate([first.features.dense, more.features.dense]).tolist()
    families = after.keys.families
    assert [after.keys.lists.row(at).tolist() for at in range(100 * families)] == [
        part.keys.lists.row(at).tolist() for part, count in ((first, 30), (more, 70)) for at in range(count * families)]
    assert after.spectral[0].steps.tolist() == [0.0] * 100
