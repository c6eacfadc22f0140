"""Near negatives: drawn as often as the correction expects."""

import numpy as np

from index_store.declaration.spec import FeatureSpec, FieldSpec, KeyFamily, TaskSpec
from index_store.features.ragged import Ragged
from index_store.features.user_keys import KeyHits
from model.examples.near_negatives import NearSampler


def test_near_negatives_are_drawn_by_the_weight_of_their_key_and_expected_as_often(tolerance=0.02):
    families = (KeyFamily("also", "ad_id", "co_click", 5), KeyFamily("category", "category", "match"),
                KeyFamily("tags", "tags", "match"))
    spec = FeatureSpec((), (FieldSpec("category", "categorical"), FieldSpec("tags", "multi")), (TaskSpec("click"),),
                       "sampled", families)
    keys = {"ad_id": Ragged.singles(np.arange(1, 7)), "category": Ragged.singles(np.array([1, 1, 2, 2, 2, 0])),
            "tags": Ragged.of([[1, 2], [], [], [], [], []])}
    near = NearSampler(spec, np.array([0, 7, 10, 13]), keys)
    assert near.draws_of(9) == 8, "half of them by each of two families: an ad can have several tags"
    # User 0 reaches the ads 0 and 3 and the category 2, user 1 the unknown category alone, user 2 nothing.
    hits = KeyHits(np.array([0, 3, 4, 4]), np.array([1, 4, 9, 7], np.int32), np.zeros(4, np.int64),
                   np.log1p([[0, 1.0], [0, 3.0], [0, 2.0], [0, 9.0]]).astype(np.float32))
    drawn = near.draw(hits, Ragged.of([[], [], []]), 8_000, np.random.default_rng(0))
    features = np.zeros((3, 6, 3 * 6), np.float32)
    features[0, 0, 1], features[0, 3, 1], features[0, 2:5, 7] = np.log1p([1.0, 3.0, 2.0])
    counts = np.stack([np.bincount(row[row >= 0], minlength=6) for row in drawn.items])
    np.testing.assert_allclose(near.expected(drawn, features)[0], [1000, 0, 4000 / 3, 3000 + 4000 / 3, 4000 / 3, 0])
    np.testing.assert_allclose(counts[0] / 8000, near.expected(drawn, features)[0] / 8000, atol=tolerance)
    assert not near.expected(drawn, features)[1:].any()
    assert (drawn.items[1:] == -1).all()
    own = near.draw(hits, Ragged.of([[3], [], []]), 8_000, np.random.default_rng(0)).items[0, :4000]
    assert set(own) == {0}, "a user's own ads are not drawn by their ids"
