"""The shadow meter: what it finds between two planted bundles, what it leaves out, and that it stays in its share."""

import asyncio
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import REGISTRY

from index_store.bundle.bundle import Bundle
from service.contract.parsing import UNLIMITED, parse_body, to_query
from service.retrieval.retriever import Retriever
from service.sampling.shadow_meter import Opened, ShadowMeter, Shown, drift, overlap
from tests.resealed import reseal
from tests.tiny_bundle import write_tiny_bundle

WAIT_SECONDS = 30


def wait_until(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def opened(folder):
    retriever = Retriever(Bundle.open(folder))
    return Opened(retriever, retriever.sealed)


@pytest.fixture(scope="module")
def bundles(tiny_bundle, tmp_path_factory):
    """`current`, and as shadows the `same` again, the same without probabilities, and one of another world."""
    folder = tmp_path_factory.mktemp("shadows")
    reseal(tiny_bundle, folder / "same", lambda writer: writer.json("evaluation.json", {"note": "again"}))
    write_tiny_bundle(folder / "logits", calibrated=False)
    reseal(folder / "logits", folder / "plain", lambda writer: None, calibrated=False)
    write_tiny_bundle(folder / "foreign", seed=1, n_items=280)
    found = {"current": opened(tiny_bundle), **{name: opened(folder / name) for name in ("same", "plain", "foreign")}}
    yield found
    for one in found.values():
        one.retriever.close()


@pytest.fixture
def meter():
    made = ShadowMeter(1.0)
    yield made
    made.close()


def asked(current, **body):
    """The body of a request, its query and the answer of a bundle."""
    content = json.dumps({"user_id": "user-01", **body}).encode()
    query = to_query(parse_body(content), current.retriever.bundle.manifest, UNLIMITED)
    return content, query, asyncio.run(current.retriever.retrieve(query))


def value(name, **labels):
    return REGISTRY.get_sample_value(f"retrieval_shadow_{name}", labels) or 0.0


def pair(shadow, current):
    return {"bundle_id": shadow.retriever.bundle.bundle_id, "beside": current.retriever.bundle.bundle_id}


def compare(meter, bundles, shadow, **body):
    """Compares one request; returns how many comparisons and how much overlap it added."""
    current, labels = bundles["current"], pair(bundles[shadow], bundles["current"])
    before = [value(f"overlap_{part}", **labels) for part in ("count", "sum")]
    content, query, answer = asked(current, **body)
    meter.offer(query, answer, content, current, bundles[shadow])
    wait_until(lambda: value("overlap_count", **labels) == before[0] + 1)
    return answer, value("overlap_sum", **labels) - before[1]


def test_everything_agrees_when_the_shadow_is_the_same_again(bundles, meter):
    labels = pair(bundles["same"], bundles["current"])
    _, share = compare(meter, bundles, "same", top_k=20)
    assert share == 1.0
    for task in ("click", "convert"):
        wait_until(lambda task=task: value("drift_count", **labels, task=task, scale="probability") >= 1)
        assert value("drift_sum", **labels, task=task, scale="probability") == pytest.approx(0, abs=1e-6)
    for side in ("shadow", "current"):
        assert value("seconds_count", **labels, side=side) >= 1
    wait_until(lambda: value("cpu_seconds_total") > 0)
    assert meter.only_one.current.most(5) == meter.only_one.shadow.most(5) == []


def test_overlap_and_ads_of_one_alone_are_those_of_a_direct_search(bundles, meter):
    for user in ("user-02", "user-03"):
        answer, share = compare(meter, bundles, "foreign", user_id=user, top_k=30)
        _, _, other = asked(bundles["foreign"], user_id=user, top_k=30)
        both = set(answer.ad_ids) & set(other.ad_ids)
        assert share == pytest.approx(len(both) / 30)
        wait_until(lambda answer=answer, both=both: set(answer.ad_ids) - both <= {
            ad for ad, _ in meter.only_one.current.most(100)})
        wait_until(lambda other=other, both=both: set(other.ad_ids) - both <= {
            ad for ad, _ in meter.only_one.shadow.most(100)})
    assert meter.only_one.pair == tuple(pair(bundles["foreign"], bundles["current"]).values())


def test_targeting_exclusions_caps_and_value_hold_for_the_shadow_too(bundles, meter):
    for body in ({"targeting": {"field": "category", "in": ["c1", "c2"]}, "exclude_ad_ids": ["ad-0001"]},
                 {"max_per": {"category": 2}}, {"rank_by": "ecpm", "floor": 1000}):
        assert compare(meter, bundles, "same", top_k=5, **body)[1] == 1.0


def test_logits_are_compared_when_one_bundle_has_no_probabilities(bundles, meter):
    labels = {**pair(bundles["plain"], bundles["current"]), "task": "click", "scale": "logit"}
    compare(meter, bundles, "plain")
    wait_until(lambda: value("drift_count", **labels) == 1)
    assert value("drift_sum", **labels) == pytest.approx(0, abs=1e-5)


def test_request_is_counted_as_refused_when_the_shadow_does_not_take_it(bundles, meter):
    before = value("skipped_total", reason="refused")
    content, query, answer = asked(bundles["current"])
    meter.offer(query, answer, content.replace(b"user_id", b"user_ids"), bundles["current"], bundles["same"])
    wait_until(lambda: value("skipped_total", reason="refused") == before + 1)
    assert compare(meter, bundles, "same")[1] == 1.0


def test_meter_goes_on_and_logs_no_value_when_a_comparison_fails(bundles, meter, capfd):
    before = value("skipped_total", reason="failed")
    content, query, answer = asked(bundles["current"])
    lines = []
    meter.offer(query, answer, content.replace(b"user-01", b"secret"), bundles["current"],
                replace(bundles["same"], snapshot=None))
    wait_until(lambda: "shadow_meter_failed" in (line := capfd.readouterr().err) and lines.append(line) is None)
    assert value("skipped_total", reason="failed") == before + 1
    assert "secret" not in lines[0]
    assert compare(meter, bundles, "same")[1] == 1.0


@pytest.mark.parametrize("body", [{"exact": True}, {"budget_ms": 5.0}])
def test_answer_is_left_out_when_its_extent_is_not_the_beams(bundles, meter, body):
    content, query, answer = asked(bundles["current"], **body)
    meter.offer(query, answer, content, bundles["current"], bundles["same"])
    assert meter._waiting.empty()
    meter.offer(replace(query, exact=False, budget_ms=None), replace(answer, found=replace(answer.found, coverage=0.5)),
                content, bundles["current"], bundles["same"])
    assert meter._waiting.empty()


@pytest.mark.parametrize(("ours", "theirs", "expected"), [
    ("ab", "ab", 1.0), ("abcd", "ab", 0.5), ("ab", "abcd", 0.5), ("ab", "cd", 0.0), ("", "", 1.0), ("a", "", 0.0)])
def test_overlap_is_a_share_of_the_longer_answer(ours, theirs, expected):
    assert overlap(list(ours), list(theirs)) == expected


def test_drift_is_the_mean_difference_of_the_ads_that_both_show():
    def shown(ads, probabilities):
        values = np.array(probabilities, np.float32)[:, None]
        return Shown(list(ads), ("click",), values, values)

    ours, theirs = shown("abc", [0.1, 0.2, 0.3]), shown("cbx", [0.5, 0.1, 0.9])
    assert drift(ours, theirs) == {"click": ("probability", pytest.approx((0.2 - 0.1) / 2))}
    assert drift(ours, shown("xyz", [0, 0, 0])) == {}
    assert drift(ours, replace(theirs, tasks=("other",))) == {}
    assert drift(replace(ours, probabilities=None), theirs)["click"][0] == "logit"
