"""Golden requests replayed: right answers pass, and each kind of wrong one is named."""

import asyncio
import json

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.bundle.graphs import SCORE_TOLERANCE
from service.bundles.golden import replay, warm_up
from service.retrieval.retriever import Retriever
from tests.resealed import reseal


def replayed(folder, how=replay):
    async def run():
        retriever = Retriever(Bundle.open(folder))
        try:
            return [done async for done in how(retriever)]
        finally:
            retriever.close()

    return asyncio.run(run())


def with_golden(source, target, change):
    """The bundle with `change` applied to its first golden request."""
    golden = json.loads((source / "golden.json").read_text())
    change(golden[0])
    reseal(source, target, lambda writer: writer.json("golden.json", golden))
    return target


@pytest.mark.parametrize("how", [replay, warm_up])
def test_all_pass_when_the_bundle_is_right(tiny_bundle, how):
    done = replayed(tiny_bundle, how)
    assert [one.number for one in done] == list(range(1, 8))
    assert [one.ads for one in done] == [20, 20, 20, 20, 5, 20, 20]
    assert all(one.problem is None and one.difference < SCORE_TOLERANCE for one in done)


def test_rank_and_both_scores_are_named_when_a_score_differs(tiny_bundle, tmp_path):
    planted = []

    def change(golden):
        golden["ads"][2]["score"] += 1
        planted.append(golden["ads"][2]["score"])

    for how in (replay, warm_up):
        first, *others = replayed(with_golden(tiny_bundle, tmp_path / how.__name__, change), how)
        assert "at rank 3, golden.json says" in first.problem
        assert first.difference == pytest.approx(1 / abs(planted[-1]), rel=1e-3)  # a share, beyond 1
        assert not any(one.problem for one in others)


def test_ad_is_named_when_golden_does_not_list_it(tiny_bundle, tmp_path):
    def change(golden):
        golden["ads"][0]["ad_id"] = golden["ads"][0]["ad_id"] + "-other"

    first, *_ = replayed(with_golden(tiny_bundle, tmp_path / "b", change))
    assert "which golden.json does not list" in first.problem


def test_count_is_named_when_ads_are_missing(tiny_bundle, tmp_path):
    first, *_ = replayed(with_golden(tiny_bundle, tmp_path / "b", lambda golden: golden["ads"].pop()))
    assert first.problem == "returns 20 ads, golden.json has 19"


def test_score_is_wrong_when_it_is_not_a_number(tiny_bundle, tmp_path):
    def nan(writer):
        embeddings = np.load(writer.path("tree/embeddings_3.npy"))
        writer.array("tree/embeddings_3.npy", embeddings * np.float32(np.nan))

    reseal(tiny_bundle, tmp_path / "nan", nan)
    assert all(one.problem for one in replayed(tmp_path / "nan", warm_up))
