"""The calibration meter: predicted and observed labels of reported events, over the same pairs of user and ad."""

import time

import numpy as np
import pytest
from prometheus_client import REGISTRY

from index_store.bundle.bundle import Bundle
from index_store.changes.change_log import Kind, Write
from service.contract.query import Query
from service.retrieval.retriever import Retriever
from service.sampling.calibration_meter import CalibrationMeter
from tests.index_store.live.changed import changes
from tests.paths import BUNDLES
from tests.service.http.app_in_process import in_app
from tests.service.http.change_log_calls import TOKEN, call


@pytest.fixture(scope="module")
def retriever(tiny_bundle):
    opened = Retriever(Bundle.open(tiny_bundle))
    yield opened
    opened.close()


@pytest.fixture
def meter():
    made = CalibrationMeter(1.0)
    yield made
    made.close()


def event(user_id, ad_id, kind):
    return Write(kind=Kind.EVENT, id=user_id, fields={"ad_id": ad_id, "type": kind})


def counted(bundle_id):
    """Predicted and observed labels of both tasks."""
    return [REGISTRY.get_sample_value(f"retrieval_calibration_{name}_total",
                                      {"bundle_id": bundle_id, "task": task}) or 0.0
            for name in ("predicted", "observed") for task in ("click", "convert")]


def once(condition):
    """Waits until a condition holds."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def served(retriever, user_id, ad_id):
    """The probabilities that an exhaustive answer gives."""
    user = retriever.encode(Query(user_id=user_id.encode(), top_k=1, task_weights=np.ones(2, np.float32)))
    tree = retriever.bundle.content.tree
    position = tree.position_of_row[[retriever.sealed.row(ad_id.encode())]].astype(np.int64)
    logits = retriever.scorer.score(retriever.query(user), tree.depth, position)
    return retriever.bundle.content.calibrations.probabilities(logits)[0]


def test_impressions_are_predicted_and_their_labels_counted(retriever, meter):
    bundle_id = retriever.bundle.bundle_id
    before = counted(bundle_id)
    meter.offer(retriever, retriever.sealed, [
        event("user-01", "ad-0001", "impression"), event("user-01", "ad-0001", "click"),
        event("stranger", "ad-0007", "impression"), event("stranger", "ad-0007", "conversion"),
        event("user-02", "none", "impression")])
    expected = served(retriever, "user-01", "ad-0001") + served(retriever, "stranger", "ad-0007")
    once(lambda: counted(bundle_id)[1] - before[1] > 0.99 * expected[1])
    after = np.subtract(counted(bundle_id), before)
    assert after.tolist() == pytest.approx([*expected, 1, 1], rel=1e-5)


def test_an_added_ad_is_predicted_too(retriever):
    features = {"price": 1.5, "category": "c3", "brand": None, "tags": []}
    snapshot = retriever.sealed.with_changes(changes(("new", {"features": features})))
    assert retriever.probabilities_of(b"user-01", b"new", snapshot).shape == (2,)
    assert retriever.probabilities_of(b"user-01", b"new", retriever.sealed) is None


def test_all_events_of_a_pair_are_sampled_or_none(retriever):
    meter = CalibrationMeter(0.3)
    bundle_id = retriever.bundle.bundle_id
    before = counted(bundle_id)
    for ad in range(300):
        meter.offer(retriever, retriever.sealed, [event("user-01", f"ad-{ad:04d}", "click")] * 2)
    found = counted(bundle_id)[2] - before[2]
    meter.close()
    assert found % 2 == 0
    assert 0.2 < found / 600 < 0.4


def test_nothing_is_measured_without_a_calibration_or_a_rate(retriever, meter):
    older = Retriever(Bundle.open(BUNDLES / "v5"))
    meter.offer(older, older.sealed, [event("user-01", "ad-0001", "click")])
    off = CalibrationMeter(0.0)
    before = counted(retriever.bundle.bundle_id)
    off.offer(retriever, retriever.sealed, [event("user-01", "ad-0001", "click")])
    assert counted(older.bundle.bundle_id) == [0.0] * 4
    assert counted(retriever.bundle.bundle_id) == before
    for one in (older, off):
        one.close()


def test_events_that_are_written_are_measured(tiny_bundle, tmp_path):
    async def check(app):
        bundle_id = app.api.bundles.current.manifest.bundle_id
        before = counted(bundle_id)
        await call(app, "POST", "/events", b'{"user_id":"u","ad_id":"ad-0001","type":"click"}\n'
                                           b'{"user_id":"u","ad_id":"ad-0001","type":"impression"}')
        await call(app, "POST", "/events", b'{"user_id":"u","ad_id":"none","type":"click"}')  # refused
        assert counted(bundle_id)[2] == before[2] + 1

    in_app(tiny_bundle, check, write_token=TOKEN, change_log=str(tmp_path / "log"), calibration_sample_rate=1.0)
