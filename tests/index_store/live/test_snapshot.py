"""Snapshots: what changes withdraw, and that searches return the best of what is left, whatever has changed."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.changes.change_log import Change, Kind
from index_store.live.snapshot import Snapshot
from index_store.live.withdrawals import Status, Withdrawal
from index_store.search.beam_search import BeamSearch
from index_store.search.exhaustive_search import ExhaustiveSearch
from index_store.search.explain import Explainer
from index_store.targeting.predicates import parse_predicate
from index_store.targeting.targeting import AdTargeting, RequestTargeting, Targeting
from index_store.tree.tree import build_tree
from index_store.value.bids import AdBids, Bid
from index_store.value.valuation import Valuation
from tests.index_store.budgets.spending import MIDNIGHT, campaign, campaign_world, numbered, spent
from tests.index_store.live.changed import PlainArrivals, changes
from tests.index_store.search.fake_scorer import WEIGHTS, FakeScorer, pairs
from tests.index_store.value.test_live_bids import plain_best
from tests.index_store.value.valued import CALIBRATIONS, PAID
from tests.index_store.worlds import NUMBERS, SPEC, WORDS, catalogue, plainly, predicates, raw_values

ADS = [f"ad-{row:02d}" for row in range(30)]
HISTORIES = st.lists(st.lists(st.tuples(st.sampled_from([*ADS, "ad-99", "a longer id than any"]),
                                        st.sampled_from(["active", "paused", "deleted"])), max_size=12), max_size=4)
ENCODER, RAW_ADS, FEATURES, TREE = catalogue(0, len(ADS))


def sealed(tree=TREE, ads=None):
    return Snapshot.sealed(ENCODER, tree, Targeting(ENCODER, FEATURES, tree, ads),
                           PlainArrivals(ENCODER, FEATURES, tree))


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
        assert set(range(len(ADS))) - set(TREE.rows[snapshot.changed.live.positions()].tolist()) == gone
        assert snapshot.changed.live.total == len(ADS) - len(gone)
    else:
        assert snapshot.changed.live is None


def test_withdrawal_has_the_status_and_the_version_of_the_change_that_set_it():
    snapshot = sealed().with_changes(changes(("ad-03", "paused"), ("ad-04", "paused"), ("ad-03", "deleted")))
    assert snapshot.withdrawal(3) == Withdrawal(Status.DELETED, 3)
    assert snapshot.withdrawal(4) == Withdrawal(Status.PAUSED, 2)
    assert snapshot.withdrawal(5) is None


def test_snapshot_stays_as_it_is_when_changes_make_another():
    before = sealed().with_changes(changes(("ad-03", "paused")))
    live = before.changed.live.words.copy()
    later = before.with_changes(changes(("ad-03", "active"), ("ad-04", "deleted"), after=1))
    assert (before.as_of, later.as_of) == (1, 3)
    assert before.changed.live.words.tolist() == live.tolist()
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
    assert later.changed.live is before.changed.live


def test_ad_lies_beyond_the_tree_when_its_features_are_new_and_in_it_when_they_are_not():
    first, second = ({name: RAW_ADS[row][name] for name in ("price", "brand", "tags")} for row in (3, 4))
    snapshot = sealed().with_changes(changes(("ad-03", {"features": first}), ("new", {"features": first}),
                                             ("ad-04", {"features": first}), ("ad-05", "paused")))
    assert [snapshot.row(ad.encode()) for ad in ("ad-03", "new", "ad-04", "nobody")] == [3, 30, 31, None]
    assert snapshot.ad_ids(np.array([3, 30, 31])) == ["ad-03", "new", "ad-04"]
    again = snapshot.with_changes(changes(("ad-04", {"features": first, "status": "paused"}),
                                          ("new", {"features": second}), after=4))
    assert [again.row(ad.encode()) for ad in ("new", "ad-04")] == [32, 31]
    assert again.withdrawal(31) == Withdrawal(Status.PAUSED, 5)
    assert again.withdrawal(32) is None
    assert again.changed.added.live.tolist() == [False, False, True]
    assert snapshot.changed.added.live.tolist() == [True, True]
    assert [snapshot.row(ad.encode()) for ad in ("new", "ad-04")] == [30, 31]
    assert TREE.position_of_row[4] not in snapshot.changed.live.positions()


def test_bids_are_those_of_the_last_changes_wherever_their_ads_lie():
    raw, own = RAW_ADS[4], Bid(70, "CPM")
    raw = {name: raw[name] for name in ("price", "brand", "tags")}
    tree = build_tree(np.stack([np.arange(len(ADS)) // 15, np.arange(len(ADS)) // 5], axis=1),
                      np.eye(len(ADS), dtype=np.float32))
    base = Snapshot.sealed(ENCODER, tree, Targeting(ENCODER, FEATURES, tree, None),
                           PlainArrivals(ENCODER, FEATURES, tree), bids=AdBids.of([own] * len(ADS)))
    first = base.with_changes(changes(
        ("ad-01", {"bid": {"micros": 9, "type": "CPM"}}), ("ad-02", {"bid": None}), ("ad-03", {"features": raw}),
        ("new", {"features": raw, "bid": {"micros": 8, "type": "CPM"}}), ("ad-05", {"status": "paused"}),
        ("ad-06", {"bid": {"micros": 5, "type": "CPC"}})))
    assert [first.bid(row) for row in (0, 1, 2, 30, 31, 5)] == [own, Bid(9, "CPM"), None, own, Bid(8, "CPM"), own]
    assert "no task declares this bid_type" in first.unfit["ad-06"]
    assert first.withdrawal(6).status == Status.UNFIT
    second = first.with_changes(changes(
        ("new", {"features": raw, "bid": {"micros": 99, "type": "CPM"}}),
        ("ad-03", {"features": raw, "bid": None, "status": "paused"}),
        ("ad-01", {"bid": {"micros": 100, "type": "CPM"}}), ("ad-06", {"bid": None}), after=6))
    assert [second.bid(row) for row in (1, 30, 31, 6)] == [Bid(100, "CPM"), None, Bid(99, "CPM"), None]
    assert [first.bid(row) for row in (1, 30, 31)] == [Bid(9, "CPM"), own, Bid(8, "CPM")]
    assert not second.unfit
    for snapshot in (base, first, second):
        assert [best.tolist() for best in snapshot.bids.best] == plain_best(snapshot.bids)
    assert second.bids.leading(None, 1).tolist() == [tree.position_of_row[1]]


def test_two_snapshots_add_ads_of_their_own_when_they_follow_the_same_one():
    raw = {"price": 1.0, "brand": "a", "tags": ["b"]}
    base = sealed().with_changes(changes(("one", {"features": raw})))
    left = base.with_changes(changes(("two", {"features": raw}), after=1))
    right = base.with_changes(changes(("three", {"features": raw | {"price": 2.0}}), after=1))
    assert [left.row(ad) for ad in (b"one", b"two", b"three")] == [30, 31, None]
    assert [right.row(ad) for ad in (b"one", b"two", b"three")] == [30, None, 31]
    assert left.added.ads.features.dense[1] != right.added.ads.features.dense[1]


NEW = {"price": 2.0, "brand": "a", "tags": []}
RAW = st.fixed_dictionaries({"price": st.sampled_from(NUMBERS), "brand": st.sampled_from([None, *WORDS]),
                             "tags": st.lists(st.sampled_from(WORDS), max_size=3)})
STATES = st.fixed_dictionaries({}, optional={
    "status": st.sampled_from(["active", "active", "paused", "deleted"]), "features": RAW,
    "targeting": st.none() | predicates(SPEC.audience_kinds),
    "bid": st.none() | st.fixed_dictionaries({"micros": st.integers(1, 3), "type": st.just("CPM")})})
LIVES = st.lists(st.lists(st.tuples(st.sampled_from([*ADS[:6], "new-1", "new-2", "new-3"]), STATES), max_size=8),
                 max_size=4)


@settings(max_examples=100, deadline=None)
@given(LIVES, st.lists(predicates(SPEC.audience_kinds), max_size=3), raw_values(SPEC.user_fields),
       st.none() | predicates(SPEC.ad_kinds, ["ad-01", "ad-02", "new-1"]),
       st.lists(st.sampled_from([*ADS, "new-1", "new-2"]), max_size=4),
       st.integers(1, 36), st.integers(0, 3), st.integers(0, 2**32 - 1))
def test_searches_return_the_best_ads_of_the_moment_when_trees_changes_and_targeting_are_random(
        batches, raw, user, asked, excluded, top_k, inner, seed):
    random = np.random.default_rng(seed)
    tree = build_tree(random.integers(0, 3, (len(ADS), inner)), random.normal(size=(len(ADS), 2)).astype(np.float32))
    sizes = [*(tree.size(level) for level in range(1, tree.depth)), len(ADS) + 40]
    logits = [random.integers(-2, 3, (size, 2)).astype(np.float32) for size in sizes]
    of_row = random.integers(0, len(raw) + 1, len(ADS)).astype(np.int32)
    parsed = [parse_predicate(predicate, SPEC.audience_kinds) for predicate in raw]
    snapshot = sealed(tree, AdTargeting.of(ENCODER, parsed, of_row[tree.rows]) if raw else None)
    targeting, spec_asked = snapshot.targeting, None if asked is None else parse_predicate(asked, SPEC.ad_kinds)
    plain = {ad: {"status": "active", "targeting": raw[number - 1] if number else None, "features": values}
             for ad, number, values in zip(ADS, of_row, RAW_ADS, strict=True)}
    states = {}
    for batch in [[], *batches]:  # one cache of signatures for all of them
        whole = []
        for ad, said in batch:  # as the log would: a change is the whole state of its ad
            states[ad] = states.get(ad, {} if ad in ADS else {"features": NEW}) | said
            whole.append((ad, states[ad]))
            plain[ad] = {"status": "active", "targeting": None} | plain.get(ad, {}) | states[ad]
            plain[ad]["features"] = plain[ad]["features"] | {"ad_id": ad}
        snapshot = snapshot.with_changes(changes(*whole, after=snapshot.as_of))
        request = RequestTargeting(targeting.attributes(None, user, {}, snapshot.changed), spec_asked)
        wanted, worth = [], []
        for ad, one in plain.items():
            willing = one["targeting"] is None or plainly(one["targeting"], user)
            fitting = asked is None or plainly(asked, one["features"])
            row = snapshot.row(ad.encode())
            if row is None:  # it was deleted before it was ever read
                assert one["status"] == "deleted"
                continue
            position = row if row >= len(ADS) else tree.position_of_row[row]
            refusal = targeting.refusal(row, request, snapshot.changed)
            if one["status"] != "deleted":  # nobody reads what else is said of a deleted ad
                assert (refusal and refusal.by) == (None if willing and fitting else "request" if willing else "ad")
            if one["status"] == "active" and willing and fitting and ad not in excluded:
                score, bid = float(logits[-1][position] @ WEIGHTS), one.get("bid") or {"micros": 0}
                wanted.append((-score, row))
                worth.append((-bid["micros"], 0.0 if bid["micros"] else -score, row))
        best = [(-score, row) for score, row in sorted(wanted)[:top_k]]
        rows = snapshot.rows(np.array([ad.encode() for ad in excluded] or [b"nobody"]))
        eligible = targeting.eligible(request, rows[rows >= 0], snapshot.changed)
        assert (len(ADS) if eligible is None else eligible.total) == len(wanted)
        options = {"top_k": top_k, "task_weights": WEIGHTS, "eligible": eligible}
        full = BeamSearch(tree, FakeScorer(logits)).search("query", beam_width=len(ADS), **options)
        narrow = BeamSearch(tree, FakeScorer(logits)).search("query", beam_width=1, trace=True, **options)
        assert pairs(full) == pairs(ExhaustiveSearch(tree, FakeScorer(logits)).search("query", **options)) == best
        assert len(narrow.rows) == min(top_k, len(wanted))
        assert set(narrow.rows.tolist()) <= {row for _, row in wanted}
        options["valuation"] = Valuation(CALIBRATIONS, PAID, snapshot.bids)
        by_ecpm = [row for *_, row in sorted(worth)[:top_k]]
        for beam in (ExhaustiveSearch(tree, FakeScorer(logits)).search("query", **options),
                     BeamSearch(tree, FakeScorer(logits)).search("query", beam_width=len(ADS), **options)):
            assert beam.rows.tolist() == by_ecpm
        filled = BeamSearch(tree, FakeScorer(logits)).search("query", beam_width=1, **options)
        assert len(filled.rows) == min(top_k, len(wanted))
        assert set(filled.rows.tolist()) <= {row for _, row in wanted}
        explainer = Explainer(tree, narrow, snapshot.placed)
        returned = {row for _, row in wanted if explainer.explain(row, True).outcome == "returned"}
        assert returned == set(narrow.rows.tolist())


def event(sequence, ad_id, kind):
    return Change(sequence=sequence, at=0.0, kind=Kind.EVENT, id="u", fields={"ad_id": ad_id, "type": kind})


def counts_of(snapshot, *ads):
    rows = snapshot.rows(np.array([ad.encode() for ad in ads]))
    return snapshot.records.at(snapshot.positions(rows)).tolist()


def test_impressions_and_clicks_are_counted_wherever_their_ads_lie():
    """In the tree, beyond it, and of an ad that moves there; in one batch with its own arrival too."""
    first, second = ({name: RAW_ADS[row][name] for name in ("price", "brand", "tags")} for row in (3, 4))
    known = np.stack([np.arange(30), np.zeros(30, np.int64)], axis=1)
    before = Snapshot.sealed(ENCODER, TREE, Targeting(ENCODER, FEATURES, TREE, None),
                             PlainArrivals(ENCODER, FEATURES, TREE), records=known)
    at = {ad: int(TREE.position_of_row[row]) for row, ad in enumerate(ADS)}
    one = before.with_changes([
        event(1, "ad-03", "impression"), event(2, "ad-03", "click"), event(3, "ad-03", "conversion"),
        event(4, "gone", "impression"), *changes(("new", {"features": first}), after=4),
        event(6, "new", "impression")])
    assert counts_of(one, "ad-03", "ad-04", "new") == [[at["ad-03"] + 1, 1], [at["ad-04"], 0], [1, 0]]
    two = one.with_changes([event(7, "new", "impression"), *changes(("ad-03", {"features": second}),
                                                                    ("newer", {"features": first}), after=7),
                            event(10, "ad-03", "impression")])
    assert two.row(b"ad-03") >= len(ADS)
    assert counts_of(two, "ad-03", "new", "newer") == [[at["ad-03"] + 2, 1], [2, 0], [0, 0]]
    assert counts_of(one, "ad-03", "new") == [[at["ad-03"] + 1, 1], [1, 0]]
    assert two.with_changes([event(10, "new", "impression")]) is two


def test_ads_have_the_campaigns_that_changes_give_them_wherever_they_lie():
    encoder, raw, features, tree = campaign_world()
    base = Snapshot.sealed(encoder, tree, Targeting(encoder, features, tree, None),
                           PlainArrivals(encoder, features, tree), items=features)
    none = next(row for row in range(30) if raw[row]["brand"] is None)

    def put(row, ad_id=None, **more):
        fields = {name: value for name, value in raw[row].items() if name != "ad_id"} | more
        return ad_id or f"ad-{row:02d}", {"status": "active", "features": fields}

    def campaigns(snapshot, *ad_ids):
        return [snapshot.campaign(snapshot.row(ad_id.encode())) for ad_id in ad_ids]

    first = base.with_changes(changes(put(none, brand="unseen"), put(0, "new", brand="a"), put(1, "newer", brand="b")))
    of_none = f"ad-{none:02d}"
    assert campaigns(first, of_none, "new", "newer") == ["unseen", "a", "b"]
    assert first.row(of_none.encode()) == none  # to the encoder it is the same ad, which stays in the tree
    assert campaigns(base, of_none) == [None]
    assert first.ads_of("unseen") == 1
    assert first.ads_of("a") == base.ads_of("a") + 1
    later = first.with_changes(changes(("new", {"status": "paused"}), put(none), put(1, "newer", brand="c"), after=3))
    assert campaigns(later, of_none, "newer") == [None, "c"]
    assert (later.ads_of("a"), later.ads_of("unseen"), base.ads_of("nobody")) == (base.ads_of("a"), 0, 0)
    assert sealed().campaign(0) is None
    assert sealed().ads_of("a") == 0


def test_spending_makes_another_snapshot_whose_gates_hold_ads_back_until_it_is_applied():
    encoder, _, features, tree = campaign_world()
    base = Snapshot.sealed(encoder, tree, Targeting(encoder, features, tree, None),
                           PlainArrivals(encoder, features, tree), items=features)
    declared = base.with_changes(numbered([campaign("a", 1.0)]))
    spending = declared.with_changes(
        [replace(spent("a", 10**9, MIDNIGHT + 60), sequence=2)])
    at = MIDNIGHT + 120.0
    assert base.gates.of(b"u", at) is None
    assert spending.gates.of(b"u", at).passing.in_tree.total == 30 - base.ads_of("a")
    assert (declared.as_of, spending.as_of) == (1, 2)
    shut = spending.without_log(at, True)
    assert shut.gates.unread_since == at
    assert sealed().without_log(at, True).gates is None
