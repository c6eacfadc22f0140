"""What a bundle finds through its beam: all where it scores all, and never what is masked."""

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from model.config.errors import ConfigError
from model.data.recall_queries import RecallQueries
from model.evaluation.recall import answers, recall
from model.evaluation.served_quality import as_served, flops_per_pair, served_quality
from model.export.seal import export
from tests.model.worlds import lists


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    bundle = tmp_path_factory.mktemp("served") / "bundle"
    export(tiny_run, bundle, {})
    return tiny_run, bundle


def queries_of(run):
    data = run.dataset
    return RecallQueries.draw(data.train, data.test, len(data.user_ids), 20, seed=0)


def test_the_exhaustive_search_of_the_bundle_finds_what_the_torch_model_finds(exported, tolerance=0.06):
    run, bundle = exported
    queries = queries_of(run)
    found = served_quality(bundle, queries)
    of_torch = recall(run.reader, run.clicks, run.key_index, queries.users, queries.targets, queries.masked,
                      (20, 100))
    for k in (20, 100):  # one of 20 users may have a near tie
        assert found["exhaustive"][f"recall@{k}"] == pytest.approx(of_torch[f"recall@{k}"], abs=tolerance)
    ranked = answers(run.reader, run.clicks, run.key_index, queries, 20)
    assert found["exhaustive"]["ndcg@20"] == pytest.approx(queries.ndcg_of(ranked, 20), abs=tolerance)
    assert found["exhaustive"]["pairs"] == pytest.approx([0.0, 0.0, 74.0])  # 80 ads less the 6 of training
    assert found["exhaustive"]["users"] == found["beam"]["users"] == 20
    assert 0 < found["beam"]["overlap@100"] <= 1
    flops = flops_per_pair(Bundle.open(bundle))
    assert found["exhaustive"]["flops"] == pytest.approx(74 * flops[-1])
    assert found["beam"]["flops"] == pytest.approx(np.dot(found["beam"]["pairs"], flops))


def test_a_bundle_of_the_run_is_asked_about_its_test_users(exported, capsys):
    run, bundle = exported
    found, expected = as_served(run, bundle, 20), served_quality(bundle, queries_of(run))
    assert {**found["beam"], "ms": 0} == {**expected["beam"], "ms": 0}
    assert f"Recall@20 {expected['beam']['recall@20']:.4f}" in capsys.readouterr().err


def test_a_bundle_of_other_users_is_refused(exported, tiny_bundle):
    with pytest.raises(ConfigError, match=r"users of .* are not the .* of the run .*; name a bundle that was exported"):
        as_served(exported[0], tiny_bundle, 20)


def test_masked_ads_are_never_found(exported):
    queries = RecallQueries(np.array([0, 1]), lists([[3, 4], [5]]), lists([[3], list(range(80))]))
    found = served_quality(exported[1], queries)
    assert found["exhaustive"]["recall@100"] == 0.25  # ad 4 alone: ad 3 is masked, and user 1 has nothing left


def test_without_users_the_means_are_none(exported):
    found = served_quality(exported[1], RecallQueries(np.empty(0, np.int64), lists([]), lists([])))
    assert found["beam"] == {"users": 0, "recall@20": None, "recall@100": None, "ndcg@20": None, "pairs": None,
                             "flops": None, "ms": None, "overlap@100": None}
