"""Predicates of ads on their way from the data into the bundle: each stays with its ad, and golden answers keep it."""

from dataclasses import replace

import numpy as np
import pytest

from index_store.targeting.predicates import parse_predicate
from index_store.targeting.targeting import RequestTargeting, Targeting
from model.data.targeting import AdPredicates
from model.export.golden import golden_answers, golden_users
from model.export.seal import assemble
from tests.model.tiny_runs import run_of
from tests.model.worlds import positives

EVEN = {"field": "parity", "in": [0]}
KNOWN = {"field": "parity", "in": [0, 1]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run whose ad i has no predicate, `EVEN` or `KNOWN`, by i modulo 3."""
    data = positives()
    distinct = tuple(parse_predicate(raw, data.spec.audience_kinds) for raw in (EVEN, KNOWN))
    data = replace(data, targeting=AdPredicates(distinct, np.arange(80, dtype=np.int32) % 3))
    return run_of(tmp_path_factory.mktemp("run"), data=data)


@pytest.fixture(scope="module")
def content(run):
    return assemble(run, np.random.default_rng(0).integers(0, 4, (80, 2)).astype(np.int32))


@pytest.mark.parametrize(("parity", "allowed"), [(b"0", {0, 1, 2}), (b"1", {0, 2}), (None, {0})])
def test_predicates_stay_with_their_ads_when_the_tree_reorders_them(content, parity, allowed):
    targeting = Targeting(content.encoder, content.items, content.tree, content.targeting)
    eligible = targeting.eligible(RequestTargeting({} if parity is None else {"parity": [parity]}))
    found = np.arange(80) if eligible is None else content.tree.rows[eligible.positions()]
    assert sorted(found.tolist()) == [row for row in range(80) if row % 3 in allowed]


def test_golden_answers_hold_eligible_ads_when_ads_have_predicates(run, content):
    users = golden_users(content)
    for user, answer in zip(users, golden_answers(content, run.model.eval(), users), strict=True):
        row = content.users.row(user.request["user_id"].encode())
        allowed = {0} if row < 0 else {0, 2} if row % 2 else {0, 1, 2}
        returned = {int(ad["ad_id"].removeprefix("ad")) % 3 for ad in answer["ads"]}
        assert returned == allowed
        assert len(answer["ads"]) == 20


def test_there_is_no_targeting_when_no_ad_has_a_predicate(tmp_path):
    assert assemble(run_of(tmp_path / "run"), np.zeros((80, 2), np.int32)).targeting is None
