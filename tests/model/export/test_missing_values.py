"""Logs as people have them, the whole line: missing numbers that say something, and no user ids."""

import asyncio
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from index_store.bundle.bundle import Bundle
from index_store.targeting.attributes import request_attributes
from model.data.load import load_dataset
from model.data.proposed import from_frames
from model.evaluation.quality import quality
from model.export.golden import user_input
from model.export.seal import export
from model.training.trainer import train
from service.__main__ import check
from service.contract.query import NO_USER, Query
from service.retrieval.retriever import Retriever
from tests.model.infer.tables import wide
from tests.model.tiny_runs import TINY


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle of a log without user ids in which some prices and ages are missing."""
    folder, columns = tmp_path_factory.mktemp("missing"), wide()
    del columns["userId"]
    columns["price"] = [None if ad in ("i003", "i004") else price for ad, price in
                        zip(columns["item_id"], columns["price"], strict=True)]
    from_frames(pa.table(columns)).save(folder / "log")
    dataset = load_dataset(folder / "log")
    numbers = [field for field in (*dataset.spec.user_fields, *dataset.spec.item_fields) if field.kind == "dense"]
    assert not dataset.spec.user_ids
    assert [(field.name, field.optional) for field in numbers] == [("age", True), ("price", True)]
    run = train(folder / "log", dataset, replace(TINY, branching=()), folder / "run", resume=False)
    export(run, folder / "bundle", quality(run, 20))
    return folder / "bundle"


def scores(bundle, features):
    """What a request without a user id is answered."""
    retriever = Retriever(Bundle.open(bundle))
    query = Query(user_id=NO_USER, top_k=3, task_weights=np.array([1, 0], np.float32), user_features=features,
                  exact=True)
    try:
        return asyncio.run(retriever.retrieve(query)).found.scores.tolist()
    finally:
        retriever.close()


def test_the_bundle_serves_what_torch_said(bundle):
    assert asyncio.run(check(bundle)) == 0


def test_features_alone_are_answered_and_a_missing_number_is_no_mean(bundle):
    mean, _ = Bundle.open(bundle).content.encoder.scales["user.age"]
    missing, average, away = (scores(bundle, {"city": "Delft", **age}) for age in ({}, {"age": mean}, {"age": None}))
    assert missing == away
    assert missing != average
    assert len(average) == 3


def test_a_missing_number_is_the_mean_and_a_flag(bundle):
    content = Bundle.open(bundle).content
    encoder, nobody = content.encoder, np.empty(0, np.int32)
    mean, deviation = encoder.scales["user.age"]
    missing, average, older = (user_input(content, encoder.encode_user({"age": age}), nobody)[0]
                               for age in (None, mean, mean + deviation))
    assert missing[:2].tolist() == [0, 1]
    assert average[:2] == pytest.approx([0, 0], abs=1e-6)
    assert older[:2] == pytest.approx([1, 0], abs=1e-6)


def test_predicates_take_a_missing_number_for_missing(bundle):
    content = Bundle.open(bundle).content
    missing = content.encoder.encode_user({})
    assert request_attributes(content.encoder, ["age"], stored=missing, given={}, context={}) == {}
    known = content.encoder.encode_user({"age": 30})
    assert list(request_attributes(content.encoder, ["age"], stored=known, given={}, context={})) == ["age"]
