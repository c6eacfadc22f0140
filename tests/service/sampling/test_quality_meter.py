"""The live quality meter: what it finds in good and bad answers, and that it is out of the way."""

import asyncio
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import REGISTRY

from index_store.bundle.bundle import Bundle
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.retrieval.retriever import Retriever
from service.sampling.quality_meter import QualityMeter
from tests.index_store.live.changed import changes
from tests.service.service_process import ServiceProcess
from tests.tiny_bundle import write_tiny_bundle

WAIT_SECONDS = 30


def wait_until(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def retriever(tiny_bundle):
    opened = Retriever(Bundle.open(tiny_bundle))
    yield opened
    opened.close()


@pytest.fixture
def meter():
    made = QualityMeter(1.0)
    yield made
    made.close()


def asked(retriever, snapshot=None, **body):
    """A query and its answer."""
    query = to_query(parse_request({"user_id": "user-01", **body}), retriever.bundle.manifest, UNLIMITED)
    return query, asyncio.run(retriever.retrieve(query, snapshot=snapshot))


def measured(retriever, narrowed="false", rank_by="score"):
    labels = {"bundle_id": retriever.bundle.bundle_id, "narrowed": narrowed, "rank_by": rank_by}
    return [REGISTRY.get_sample_value(f"retrieval_live_overlap_{name}", labels) or 0.0 for name in ("count", "sum")]


def live(process):
    """Count and sum of the overlaps, and how many answers were passed over, once all of them are accounted for."""
    metrics = process.metrics()
    answered = metrics['retrieval_stage_seconds_count{stage="total"}']
    count, total = (sum(value for name, value in metrics.items() if name.startswith(f"retrieval_live_overlap_{part}{{"))
                    for part in ("count", "sum"))
    skipped = metrics["retrieval_quality_skipped_total"]
    return (count, total) if count + skipped == answered else None


def test_overlap_is_lower_when_the_beam_is_bad_and_no_exact_answer_counts(tiny_bundle):
    with ServiceProcess(tiny_bundle, RETRIEVAL_QUALITY_SAMPLE_RATE="1") as process:
        for number in range(40):
            process.retrieve(user_id=f"user-{number:02d}")
        good, good_sum = process.wait_until(lambda: live(process))
        for number in range(40):
            process.retrieve(user_id=f"user-{number:02d}", beam_width=1)
        both, both_sum = process.wait_until(lambda: live(process))
        process.retrieve(user_id="user-01", exact=True)
        process.retrieve(user_id="user-01")
        process.wait_until(lambda: [value for name, value in process.metrics().items()
                                    if name.startswith("retrieval_live_overlap_count")] == [both + 1])
        assert not [event for event in process.events if event["event"] == "quality_meter_failed"]
    assert both > good > 0
    assert (both_sum - good_sum) / (both - good) < good_sum / good - 0.1
    assert good_sum / good > 0.9


def test_nothing_is_measured_when_the_rate_is_zero(tiny_bundle):
    with ServiceProcess(tiny_bundle, RETRIEVAL_QUALITY_SAMPLE_RATE="0") as process:
        process.retrieve(user_id="user-01")
        assert not [name for name in process.metrics() if name.startswith("retrieval_live_overlap_count")]


def test_targeting_and_exclusions_hold_for_the_truth_too_when_a_request_has_them(retriever, meter):
    count, total = measured(retriever)
    query, answer = asked(retriever, targeting={"field": "category", "in": ["c1", "c2"]}, top_k=5,
                          exclude_ad_ids=["ad-0001"], beam_width=1000)
    meter.offer(retriever, query, answer)
    wait_until(lambda: measured(retriever) == [count + 1, total + 1])


def test_answers_are_counted_apart_when_a_deadline_narrowed_them(retriever, meter):
    query, answer = asked(retriever)
    half = replace(answer.found, rows=answer.found.rows[:5], coverage=0.5)
    meter.offer(retriever, query, replace(answer, found=half))
    wait_until(lambda: measured(retriever, "true")[0] == 1)
    assert measured(retriever, "true")[1] <= 0.5


def test_answer_is_measured_when_its_bundle_was_closed_meanwhile(tiny_bundle, meter):
    swapped = Retriever(Bundle.open(tiny_bundle))
    query, answer = asked(swapped)
    count, _ = measured(swapped)
    swapped.close()
    meter.offer(swapped, query, answer)
    wait_until(lambda: measured(swapped)[0] == count + 1)


def test_meter_goes_on_and_logs_no_value_when_a_sample_fails(retriever, meter, capfd):
    query, answer = asked(retriever)
    count, lines = measured(retriever)[0], []
    meter.offer(retriever, replace(query, user_features={"secret": "value"}), answer)
    wait_until(lambda: "quality_meter_failed" in (line := capfd.readouterr().err) and lines.append(line) is None)
    meter.offer(retriever, query, answer)
    wait_until(lambda: measured(retriever)[0] == count + 1)
    line = json.loads(lines[0])
    assert line["reason"] == "FeatureError"
    assert "secret" not in str(line)


class SlowScorer:
    """Scores every pair as 0, and takes its time for it."""

    ensemble = ()

    def __init__(self):
        self.calls, self.began = 0, threading.Event()

    def score(self, query, level, nodes):
        self.calls += 1
        self.began.set()
        time.sleep(0.05)
        return np.zeros((len(nodes), 2), np.float32)


def test_meter_ends_at_once_when_it_is_closed_in_the_middle(tmp_path):
    write_tiny_bundle(tmp_path / "large", n_items=20 * 512)  # 20 blocks, so a second and more for one sample
    slow, meter = Retriever(Bundle.open(tmp_path / "large")), QualityMeter(1.0)
    query, answer = asked(slow)
    slow.scorer = SlowScorer()
    count, _ = measured(slow)
    meter.offer(slow, query, answer)
    assert slow.scorer.began.wait(WAIT_SECONDS)
    meter.close()
    assert not meter._thread.is_alive()
    assert 1 <= slow.scorer.calls < 20
    assert measured(slow)[0] == count
    slow.close()


def test_truth_is_of_the_snapshot_that_the_request_saw_when_ads_are_withdrawn(retriever, meter):
    _, everything = asked(retriever, beam_width=1000)
    best = everything.ad_ids[:5]
    snapshot = retriever.sealed.with_changes(changes(*((ad, "paused") for ad in best)))
    count, total = measured(retriever)
    meter.offer(retriever, *asked(retriever, snapshot, beam_width=1000))
    wait_until(lambda: measured(retriever) == [count + 1, total + 1])
