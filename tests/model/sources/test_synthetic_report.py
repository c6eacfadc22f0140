"""What a synthetic world demands of a model, measured where the answer is known."""

import json

import numpy as np
import pytest

from model.sources import synthetic
from model.sources.synthetic_report import overlap, rank_overlap, report, variance_shares


def test_most_of_the_click_logit_is_crossing(world):
    truth = world[2]
    shares = variance_shares(truth.logits(np.arange(400), None)[..., 0])
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-3)
    assert shares["crossing"] > 0.5


def test_variance_and_overlap_are_right_when_the_logits_are_known():
    rng = np.random.default_rng(0)
    user, ad = rng.normal(size=(300, 1)), 2 * rng.normal(size=(1, 400))
    left, right = rng.normal(size=(300, 3)), rng.normal(size=(3, 400))
    additive = variance_shares((user + ad).astype(np.float32))
    assert additive["crossing"] < 1e-6
    assert additive["ad"] > additive["user"]
    low_rank = (user + ad + left @ right).astype(np.float32)
    assert rank_overlap(low_rank, 3, 20) > 0.99
    assert rank_overlap(low_rank, 1, 20) < 0.8


def test_overlap_is_the_share_of_the_true_top_when_scores_differ():
    logits = np.array([[4, 3, 2, 1], [1, 2, 3, 4]], np.float32)
    assert overlap(-logits, logits, 2) == 0
    assert overlap(np.array([[9, 0, 8, 0], [0, 0, 9, 8]], np.float32), logits, 2) == 0.75


def test_a_world_of_one_user_and_one_ad_has_no_variance_to_share():
    assert variance_shares(np.full((1, 1), 0.3, np.float32)) == {"user": None, "ad": None, "crossing": None}


def test_the_report_of_a_small_world_is_json(tmp_path):
    synthetic.write(tmp_path, 3, 4, 100, seed=0)
    found = report(tmp_path)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["sampled"] == {"users": 4, "ads": 3}
