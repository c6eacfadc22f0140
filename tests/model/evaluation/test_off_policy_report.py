"""`evaluate --off-policy` on a log that the service's own answers have written, whose clicks follow a known truth."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from index_store.bundle.bundle import Bundle
from index_store.changes.change_log import Kind, Write
from index_store.changes.open_log import open_log
from model.evaluation.bundle_policy import BundlePolicy
from model.evaluation.logged_answers import read_logged_answers
from model.evaluation.off_policy_report import off_policy
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.contract.query import Exploring
from service.retrieval.retriever import Retriever
from tests.model.commands import model
from tests.resealed import reseal
from tests.tiny_bundle import write_tiny_bundle

PLACES, ANSWERS = 8, 300


async def answers_of(retriever, by_ecpm):
    """Users and their answers, a third of which goes to new ads."""
    users, asked = retriever.bundle.content.users.ids.tolist(), {"top_k": PLACES, "rank_by": "ecpm" if by_ecpm else
                                                                 "score"}
    for at in range(ANSWERS):
        user = users[at % len(users)].decode()
        query = to_query(parse_request(asked | {"user_id": user}), retriever.bundle.manifest, UNLIMITED)
        yield user, await retriever.retrieve(replace(query, exploring=Exploring(share=0.3, below=100, seed=at)))


async def written(bundle, where, by_ecpm):
    """Writes a log of answers and the events that come of them; the mean reward of the same answers unexplored."""
    retriever, log, random = Retriever(Bundle.open(bundle)), open_log(str(where), ""), np.random.default_rng(0)
    rate, without, writes = retriever.bundle.content.calibrations.probabilities, [], []
    async for user, answer in answers_of(retriever, by_ecpm):
        without.append(answer.found.ecpm.mean() if by_ecpm else rate(answer.found.logits)[:, 0].mean())
        for ad, p, propensity, explored in zip(answer.ad_ids, rate(answer.shown.logits),
                                               answer.exploration.propensities, answer.exploration.explored,
                                               strict=True):
            said = {"ad_id": ad, "request_id": f"r{len(without)}"}
            kinds = [kind for kind, chance in zip(("click", "conversion"), p, strict=True) if random.random() < chance]
            writes += [Write(kind=Kind.EVENT, id=user, fields=said | {"type": "impression", "explored": bool(explored),
                                                                      "propensity": float(propensity)}),
                       *(Write(kind=Kind.EVENT, id=user, fields=said | {"type": kind}) for kind in kinds)]
    log.append(writes)
    log.close()
    retriever.close()
    return float(np.mean(without))


@pytest.fixture(scope="module", params=[False, True], ids=["clicks", "ecpm"])
def logged(request, tiny_bundle, tmp_path_factory):
    where = tmp_path_factory.mktemp("log") / "changes.sqlite3"
    return request.param, where, asyncio.run(written(tiny_bundle, where, request.param))


def test_estimates_agree_with_the_truth_of_the_world(logged, tiny_bundle):
    by_ecpm, where, truth = logged
    said = json.loads(model("evaluate", "--off-policy", where, "--bundle", tiny_bundle, "--reward",
                            "ecpm" if by_ecpm else "click").splitlines()[-1])
    assert (said["answers"], said["impressions"], said["left_out"]) == (ANSWERS, ANSWERS * PLACES, 0)
    assert said["explored"] > 100
    bundle = said["policies"]["bundle"]
    for found in (bundle["ips"], bundle["snips"], bundle["dr"], said["policies"]["without_exploration"]["ips"]):
        assert abs(found["value"] - truth) < 4 * found["standard_error"]
    assert bundle["support"]["value"] == pytest.approx(1, abs=0.02)
    assert said["policies"]["logging"]["ips"] == said["policies"]["logging"]["snips"]


def test_policy_of_the_bundle_is_what_it_would_have_returned(logged, tiny_bundle):
    by_ecpm, where, _ = logged
    answers = read_logged_answers(str(where))
    target = BundlePolicy(Bundle.open(tiny_bundle), by_ecpm).target(answers)
    assert (target.probabilities[~answers.explored] == 1).all()
    assert (target.probabilities[answers.explored] == 0).all()


def test_bundle_that_shows_other_ads_is_refused_with_the_number_of_places(logged, tmp_path):
    _, where, _ = logged
    write_tiny_bundle(tmp_path / "other", seed=5)
    said = model("evaluate", "--off-policy", where, "--bundle", tmp_path / "other", code=1)
    assert f"of the {ANSWERS * PLACES:,} places of the logged answers" in said
    assert "to ads that these answers could not show" in said


def test_ecpm_needs_bids_and_a_calibration(logged, tiny_bundle, tmp_path):
    _, where, _ = logged
    reseal(tiny_bundle, tmp_path / "plain", lambda writer: (writer.folder / "calibration.json").unlink())
    assert "holds no calibration" in model("evaluate", "--off-policy", where, "--reward", "ecpm", "--bundle",
                                           tmp_path / "plain", code=1)
    assert "impressions is of an ad with a bid" in model("evaluate", "--off-policy", where, "--reward", "ecpm", code=1)
    assert set(off_policy(str(where), None, "click")["policies"]) == {"logging", "without_exploration"}


def test_evaluate_wants_a_run_or_a_log():
    assert "takes one of the two" in model("evaluate", code=1)
    assert "takes one of the two" in model("evaluate", "--run", "r", "--off-policy", "l", code=1)
