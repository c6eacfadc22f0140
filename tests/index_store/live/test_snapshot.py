"""Snapshots: what changes withdraw, and that searches return the best of what is left, whatever has changed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.live.snapshot import Snapshot, status_of
from index_store.live.users import LiveUsers
from index_store.live.withdrawals import Status, Withdrawal
from index_store.search.beam_search import BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.targeting.predicates import parse_predicate
from index_store.targeting.targeting import AdTargeting, RequestTargeting, Targeting
from index_store.tree.tree import build_tree
from tests.index_store.live.changed import changes
from tests.index_store.search.fake_scorer import WEIGHTS, FakeScorer, pairs, reference
from tests.index_store.worlds import SPEC, catalogue, plainly, predicates, raw_values

ADS = [f"ad-{row:02d}" for row in range(30)]
HISTORIES = st.lists(st.lists(st.tuples(st.sampled_from([*ADS, "ad-99", "a longer id than any"]),
                                        st.sampled_from(["active", "paused", "deleted"])), max_size=12), max_size=4)
ENCODER, RAW_ADS, FEATURES, TREE = catalogue(0, len(ADS))


def sealed(tree=TREE):
    return Snapshot(item_ids=ENCODER.item_ids, tree=tree, users=LiveUsers.none(ENCODER))


def after(batches, snapshot):
    """The snapshot after batches of changes, and the plain status of each ad."""
    plain = {}
    for batch in batches:
        snapshot = snapshot.with_changes(changes(*batch, after=snapshot.as_of))
        plain |= dict(batch)
    return snapshot, plain


@given(HISTORIES)
def test_ads_are_live_unless_their_last_change_says_otherwise(batches):
    snapshot, plain = after(batches, sealed())
    gone = {row for row, ad in enumerate(ADS) if plain.get(ad, "active") != "active"}
    assert {row for row in range(len(ADS)) if snapshot.withdrawal(row)} == gone
    assert snapshot.as_of == sum(map(len, batches))
    if gone:
        assert set(range(len(ADS))) - set(TREE.rows[snapshot.live.positions()].tolist()) == gone
        assert snapshot.live.total == len(ADS) - len(gone)
    else:
        assert snapshot.live is None


def test_withdrawal_has_the_status_and_the_version_of_the_change_that_set_it():
    snapshot = sealed().with_changes(changes(("ad-03", "paused"), ("ad-04", "paused"), ("ad-03", "deleted")))
    assert snapshot.withdrawal(3) == Withdrawal(Status.DELETED, 3)
    assert snapshot.withdrawal(4) == Withdrawal(Status.PAUSED, 2)
    assert snapshot.withdrawal(5) is None


def test_snapshot_stays_as_it_is_when_changes_make_another():
    before = sealed().with_changes(changes(("ad-03", "paused")))
    live = before.live.words.copy()
    later = before.with_changes(changes(("ad-03", "active"), ("ad-04", "deleted"), after=1))
    assert (before.as_of, later.as_of) == (1, 3)
    assert before.live.words.tolist() == live.tolist()
    assert before.withdrawal(3)
    assert not later.withdrawal(3)


def test_changes_count_once_when_they_come_twice():
    history = changes(("ad-03", "paused"), ("ad-03", "active"), ("ad-04", "paused"))
    snapshot = sealed().with_changes(history)
    assert snapshot.with_changes(history) is snapshot
    assert snapshot.with_changes(history[1:2]) is snapshot


def test_bitmap_is_kept_when_only_ads_of_other_bundles_change():
    before = sealed().with_changes(changes(("ad-03", "paused")))
    later = before.with_changes(changes(("ad-99", "deleted"), after=1))
    assert later.as_of == 2
    assert later.live is before.live


def test_status_is_active_when_an_ad_was_never_changed_or_the_change_does_not_name_one():
    (change,) = changes(("ad-03", "paused"))
    assert [status_of(one) for one in (None, change)] == ["active", "paused"]
    with pytest.raises(ValueError, match="'expired' is not a valid Status"):
        status_of(changes(("ad-03", "expired"))[0])


@settings(max_examples=100, deadline=None)
@given(HISTORIES, st.lists(predicates(SPEC.audience_kinds), min_size=1, max_size=3), raw_values(SPEC.user_fields),
       st.none() | predicates(SPEC.ad_kinds, ["ad-01", "ad-02"]), st.lists(st.integers(0, 29), max_size=4),
       st.integers(1, 33), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_searches_return_the_best_live_ads_when_trees_changes_and_targeting_are_random(
        batches, raw, user, asked, excluded, top_k, inner, seed):
    random = np.random.default_rng(seed)
    tree = build_tree(random.integers(0, 3, (len(ADS), inner)), random.normal(size=(len(ADS), 2)).astype(np.float32))
    logits = [random.integers(-2, 3, (tree.size(level), 2)).astype(np.float32) for level in range(1, tree.depth + 1)]
    of_row = random.integers(0, len(raw) + 1, len(ADS)).astype(np.int32)
    parsed = [parse_predicate(predicate, SPEC.audience_kinds) for predicate in raw]
    targeting = Targeting(ENCODER, FEATURES, tree, AdTargeting.of(ENCODER, parsed, of_row[tree.rows]))
    request = RequestTargeting(targeting.attributes(None, user, {}),
                               None if asked is None else parse_predicate(asked, SPEC.ad_kinds))
    willing = [(number == 0 or plainly(raw[number - 1], user)) and (asked is None or plainly(asked, ad))
               for number, ad in zip(of_row, RAW_ADS, strict=True)]
    snapshot, plain = sealed(tree), {}
    for batch in [[], *batches]:  # one cache of signatures for all of them
        snapshot = snapshot.with_changes(changes(*batch, after=snapshot.as_of))
        plain |= dict(batch)
        gone = [row for row, ad in enumerate(ADS)
                if not willing[row] or row in excluded or plain.get(ad, "active") != "active"]
        best = reference(tree, logits, np.array(gone, np.int64), top_k)
        eligible = targeting.eligible(request, np.array(excluded, np.int64), snapshot.live)
        assert (len(ADS) if eligible is None else eligible.total) == len(ADS) - len(gone)
        full = BeamSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, beam_width=len(ADS),
                                                           task_weights=WEIGHTS, eligible=eligible)
        narrow = BeamSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, beam_width=1, task_weights=WEIGHTS,
                                                             eligible=eligible)
        exhaustive = ExhaustiveSearch(tree, FakeScorer(logits)).search("query", top_k=top_k, task_weights=WEIGHTS,
                                                                       eligible=eligible)
        assert pairs(full) == pairs(exhaustive) == best
        assert len(narrow.rows) == min(top_k, len(ADS) - len(gone))
        assert not set(narrow.rows.tolist()) & set(gone)
