"""Expected answers: replies of another bundle, another user or no bundle are noticed."""

import json

import numpy as np
import pytest

from loadtest.chaos.answers import Answers, SameAnswersError


def reply(answers, request, bundle=0, **changed):
    bundle_id = answers.bundle_ids[bundle]
    expected = answers._expected[bundle_id][request]
    ads = [{"ad_id": ad, "score": score} for ad, score in zip(expected.ads, expected.scores, strict=True)]
    return {"bundle_id": bundle_id, "ads": ads, "degraded": [], **changed}


def test_requests_are_of_every_kind_and_answered_by_both_bundles(testbed):
    bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in testbed.answers.requests]
    assert len(bodies) == 100
    for kind in ("user_features", "exclude_ad_ids", "targeting"):
        assert any(kind in body for body in bodies)
    assert any(body["user_id"] == "stranger" for body in bodies)


def test_right_reply_has_no_problem_and_wrong_ones_have_theirs(testbed):
    answers = testbed.answers
    request, another = answers.requests[:2]
    right = reply(answers, request)
    assert answers.problem(request, right) is None
    assert answers.problem(request, reply(answers, request, 1)) is None
    mixed = {**right, "bundle_id": answers.bundle_ids[1]}
    assert "has the ads" in answers.problem(request, mixed)
    assert "has the ads" in answers.problem(request, reply(answers, another))
    swapped = [{**ad, "score": ad["score"] + 1} for ad in right["ads"]]
    assert "has the scores" in answers.problem(request, {**right, "ads": swapped})
    assert "names the bundle nowhere" in answers.problem(request, {**right, "bundle_id": "nowhere"})
    assert answers.problem(request, {**right, "ads": [], "degraded": ["deadline"]}) is None
    without = {**right, "ads": right["ads"][::2], "degraded": ["shard"]}
    assert answers.problem(request, without) is None
    assert answers.problem(request, {**without, "ads": []}) is None  # a beam may lie in one shard
    assert "has other scores" in answers.problem(request, {**without, "ads": swapped})
    assert "names the bundle nowhere" in answers.problem(request, {**without, "bundle_id": "nowhere"})


def test_answers_of_a_root_are_those_of_its_bundle(testbed):
    request, roots = testbed.answers.requests[0], testbed.answers.served_as(["root of one", "root of another"])
    right = reply(testbed.answers, request)
    assert roots.problem(request, {**right, "bundle_id": "root of one"}) is None
    assert "has the ads" in roots.problem(request, {**right, "bundle_id": "root of another"})
    assert "names the bundle" in roots.problem(request, right)
    assert testbed.answers.problem(request, right) is None


def test_bundles_with_the_same_answers_are_refused(two_bundles):
    first, _ = two_bundles
    with pytest.raises(SameAnswersError, match="10 of 10 requests"):
        Answers([first, first], requests=10)


def test_scores_may_differ_in_the_last_digits(testbed):
    request = testbed.answers.requests[0]
    right = reply(testbed.answers, request)
    ads = [{**ad, "score": float(np.float32(ad["score"]))} for ad in right["ads"]]
    assert testbed.answers.problem(request, {**right, "ads": ads}) is None
