"""The calls about campaigns in one worker: budgets that are spent by events, frequency caps, and every refusal."""

import json
import time

import pytest

from service.contract.campaign_schemas import CampaignReply
from service.contract.errors import STATUS
from service.contract.schemas import ErrorReply, ExplainReply, RetrieveReply
from tests.service.http.app_in_process import in_app
from tests.service.http.change_log_calls import LINES, TOKEN, call, last, retrieve
from tests.service.service_process import ServiceProcess

BUDGET = {"daily_budget_micros": 1_000_000, "currency": "EUR"}
CAP = {"daily_budget_micros": None, "currency": "EUR", "frequency_cap": {"impressions": 2, "hours": 24}}
ALL = {"top_k": 500, "exact": True}
OF_C1 = {f"ad-{row:04d}" for row in range(1, 300, 12)}


@pytest.fixture
def with_log(campaign_bundle, tmp_path):
    """Runs `check(app)` on an application that has a change log, a write token and ads of campaigns."""
    return lambda check, **settings: in_app(campaign_bundle, check, **{
        "write_token": TOKEN, "change_log": str(tmp_path / "log"), **settings})


async def put(app, name="c1", **body):
    return await call(app, "PUT", f"/campaigns/{name}?wait=applied", body)


async def look(app, name="c1"):
    status, body = await call(app, "GET", f"/campaigns/{name}")
    assert status == 200, body
    return CampaignReply.model_validate(body)


async def event(app, ad_id, kind="click", user="u", key=None, **fields):
    line = {"user_id": user, "ad_id": ad_id, "type": kind, **fields}
    headers = {} if key is None else {"idempotency_key": key}
    return await call(app, "POST", "/events?wait=applied", json.dumps(line).encode(), **headers)


async def shown(app, user="somebody"):
    """Ads of campaign c1 that a user gets."""
    reply = await retrieve(app, user, **ALL)
    RetrieveReply.model_validate(reply)
    return OF_C1 & {ad["ad_id"] for ad in reply["ads"]}


async def explained(app, ad_id="ad-0001", user="somebody"):
    reply = (await app.http.post("/explain", json={"user_id": user, "ad_id": ad_id, **ALL})).json()
    ExplainReply.model_validate(reply)
    return reply


def test_spent_budget_closes_the_gate_until_midnight_and_a_larger_one_opens_it(with_log):
    async def check(app):
        assert await shown(app) == OF_C1
        status, body = await put(app, **BUDGET)
        reply = CampaignReply.model_validate(body)
        assert (status, reply.version, reply.ads, reply.gate, reply.applied) == (200, 1, 25, "paced", True)
        await event(app, "ad-0001", price_micros=600_000)
        await event(app, "ad-0013", kind="impression", price_micros=399_999)
        reply = await look(app)
        assert (reply.spent_today_micros, reply.gate, reply.closed_until) == (999_999, "paced", None)
        await event(app, "ad-0025", price_micros=1)
        reply = await look(app)
        assert (reply.spent_today_micros, reply.gate, reply.pass_probability) == (1_000_000, "closed", 0.0)
        now = time.time()
        assert (reply.closed_until % 86_400, now < reply.closed_until <= now + 86_400) == (0, True)
        assert await shown(app) == set()
        reply = await retrieve(app, "somebody", **ALL)
        assert reply["eligible"] == len(reply["ads"]) == 275
        told = await explained(app)
        assert (told["outcome"], told["eligible"]) == ("filtered", False)
        assert told["refused_by"] == {"by": "budget", "path": "campaign", "clause": None, "version": None,
                                      "campaign": "c1", "until": (await look(app)).closed_until, "probability": None}
        empty = await retrieve(app, "somebody", targeting={"field": "category", "in": ["c1"]})
        assert (empty["ads"], empty["empty"]["by"], empty["empty"]["left"]) == ([], "campaigns", 25)
        status, body = await put(app, **BUDGET | {"daily_budget_micros": 500_000})
        reply = CampaignReply.model_validate(body)
        assert (status, reply.spent_today_micros, reply.gate) == (200, 1_000_000, "closed")  # accepted, and told
        await put(app, **BUDGET | {"daily_budget_micros": None})
        assert (await look(app)).gate == "open"
        assert await shown(app) == OF_C1

    with_log(check)


def test_paced_campaign_passes_some_requests_and_explains_the_others(with_log):
    async def check(app):
        await put(app, **BUDGET)
        passed = []
        for user in range(60):
            before = time.time() // 60
            ads, told = await shown(app, f"user-{user}"), await explained(app, user=f"user-{user}")
            assert ads in (set(), OF_C1)
            if before != time.time() // 60:
                continue  # another tick
            passed.append(ads == OF_C1)
            assert told["eligible"] is passed[-1]
            if not ads:
                refusal = told["refused_by"]
                assert (refusal["by"], refusal["campaign"], 0 < refusal["probability"] < 1) == ("pacing", "c1", True)
        assert 0 < sum(passed) < len(passed)

    with_log(check)


def test_event_costs_the_bid_once_however_often_it_is_sent_and_whatever_becomes_of_the_bid(with_log):
    async def check(app):
        await put(app, **BUDGET)
        for kind, pays, micros in [("CPC", "click", 70_000), ("CPM", "impression", 50), ("CPA", "conversion", 70_000)]:
            before = (await look(app)).spent_today_micros
            bid = {"bid": {"micros": 70_000 if kind != "CPM" else 50_000, "type": kind}}
            await call(app, "PATCH", "/ads/ad-0001?wait=applied", bid)
            for other in {"click", "impression", "conversion"} - {pays}:
                await event(app, "ad-0001", other)
            first = await event(app, "ad-0001", pays, key=f"k-{kind}")
            await call(app, "PATCH", "/ads/ad-0001?wait=applied", {"bid": {"micros": 1, "type": kind}})
            assert await event(app, "ad-0001", pays, key=f"k-{kind}") == first
            assert (await look(app)).spent_today_micros - before == micros
        before = await look(app)
        await event(app, "ad-0002")  # of another campaign
        await call(app, "PATCH", "/ads/ad-0001?wait=applied", {"bid": None})
        await event(app, "ad-0001")
        assert (await look(app)).spent_today_micros == before.spent_today_micros

    with_log(check)


def test_ads_that_are_added_belong_to_their_campaign_even_if_the_bundle_has_never_seen_it(with_log):
    async def check(app):
        features = {"price": 1.0, "category": "c1", "brand": None, "tags": []}
        await call(app, "PUT", "/ads/new?wait=applied", {"features": features})
        await call(app, "PUT", "/ads/newer?wait=applied", {"features": features | {"category": "brand new"}})
        assert (await put(app, **BUDGET))[1]["ads"] == 26
        assert (await put(app, "brand new", **BUDGET))[1]["ads"] == 1
        await event(app, "new", price_micros=1_000_000)
        ads = {ad["ad_id"] for ad in (await retrieve(app, "u", **ALL))["ads"]}
        assert not ads & (OF_C1 | {"new"})
        await event(app, "newer", price_micros=1_000_000)
        assert "newer" not in {ad["ad_id"] for ad in (await retrieve(app, "u", **ALL))["ads"]}
        told = await explained(app, "newer")
        assert (told["refused_by"]["by"], told["refused_by"]["campaign"]) == ("budget", "brand new")
        await call(app, "DELETE", "/ads/new?wait=applied")
        assert (await look(app)).ads == 25

    with_log(check)


def test_user_who_has_seen_a_campaign_often_enough_gets_no_more_of_it_and_others_do(with_log):
    async def check(app):
        assert (await put(app, **CAP))[1]["frequency_cap"] == {"impressions": 2, "hours": 24}
        await event(app, "ad-0001", "impression", user="often")
        await event(app, "ad-0001", "click", user="often")
        await event(app, "ad-0013", "impression", user="often", at=time.time() - 25 * 3600)
        assert await shown(app, "often") == OF_C1
        await event(app, "ad-0013", "impression", user="often")
        assert await shown(app, "often") == set()
        assert await shown(app, "rarely") == OF_C1
        told = (await explained(app, user="often"))["refused_by"]
        assert (told["by"], told["campaign"], told["until"]) == ("frequency_cap", "c1", None)
        empty = await retrieve(app, "often", targeting={"field": "category", "in": ["c1"]})
        assert (empty["empty"]["by"], empty["empty"]["left"]) == ("campaigns", 25)
        await put(app, **CAP | {"frequency_cap": None})
        assert await shown(app, "often") == OF_C1

    with_log(check)


@pytest.mark.parametrize(("body", "error_type", "fact"), [
    ({"currency": "EUR"}, "missing_field", "daily_budget_micros"),
    ({**BUDGET, "daily_budget_micros": 1.5}, "wrong_type", "1.5"),
    ({**BUDGET, "daily_budget_micros": -1}, "invalid_value", "is -1, outside 0..1000000000000000"),
    ({**BUDGET, "currency": "€"}, "invalid_value", "'€', not three capital letters"),
    ({**BUDGET, "time_zone": "Mars"}, "invalid_value", "'Mars'"),
    ({**BUDGET, "frequency_cap": {"impressions": 0, "hours": 1}}, "invalid_value", "is 0, not an integer of 1..100"),
    ({**BUDGET, "frequency_cap": {"hours": 1}}, "invalid_value", "frequency_cap is {'hours': 1}"),
    ({**BUDGET, "spent": 1}, "unknown_field", "spent"), ({**BUDGET, "if_version": 7}, "version_conflict", "is 7"),
    ({**BUDGET, "currency": "USD"}, "invalid_value", 'USD, but that of campaign "c0"')])
def test_nothing_is_written_when_a_campaign_cannot_be_declared(with_log, body, error_type, fact):
    async def check(app):
        await put(app, "c0", **BUDGET)
        status, reply = await put(app, **body)
        ErrorReply.model_validate(reply)
        assert (status, reply["error_type"]) == (STATUS[error_type], error_type), reply
        assert fact in reply["message"]
        assert await last(app) == 1

    with_log(check)


def test_campaign_is_written_once_by_its_key_and_unknown_ones_are_not_found(with_log):
    async def check(app):
        first = await call(app, "PUT", "/campaigns/c1", BUDGET, idempotency_key="k")
        again = await call(app, "PUT", "/campaigns/c1", BUDGET, idempotency_key="k")
        assert first[1]["version"] == again[1]["version"] == 1
        assert (await call(app, "PUT", "/campaigns/c2", BUDGET, idempotency_key="k"))[1]["error_type"] == "key_reused"
        assert (await call(app, "GET", "/campaigns/c2"))[1]["error_type"] == "campaign_not_found"
        assert (await call(app, "GET", "/campaigns/" + "x" * 200))[1]["error_type"] == "invalid_value"
        unpriced = b'{"user_id":"u","ad_id":"ad-0001","type":"click","price_micros":%s}'
        for price in (b"-1", b"1.5", b"true", b"1000000000001"):
            assert (await call(app, "POST", "/events", unpriced % price))[1]["error_type"] == "invalid_line"

    with_log(check)


def test_bundle_without_campaigns_has_none_and_events_cost_nothing(tiny_bundle, tmp_path):
    async def check(app):
        for method in ("GET", "PUT"):
            status, body = await call(app, method, "/campaigns/c1", BUDGET if method == "PUT" else None)
            assert (status, body["error_type"]) == (409, "no_campaigns")
        await event(app, "ad-0001", price_micros=5)
        (change,) = (await call(app, "GET", "/changes"))[1]["changes"]
        assert change["fields"] == {"ad_id": "ad-0001", "type": "click", "price_micros": 5}

    in_app(tiny_bundle, check, write_token=TOKEN, change_log=str(tmp_path / "log"))


def test_workers_and_a_replica_that_starts_later_decide_alike(campaign_bundle, tmp_path):
    """Real processes over one log: campaigns that are closed, paced and capped."""
    settings = {"RETRIEVAL_WRITE_TOKEN": TOKEN, "RETRIEVAL_CHANGE_LOG": str(tmp_path / "log"),
                "RETRIEVAL_QUALITY_SAMPLE_RATE": "0"}
    headers = {"authorization": f"Bearer {TOKEN}"}

    def ads_of(process, at):
        """What some users get of each replica; None if another tick began meanwhile."""
        found = [[sorted(ad["ad_id"] for ad in process.http.post("/retrieve", json={
            "user_id": f"user-{user:02d}", **ALL}, headers={"connection": "close"}).json()["ads"])
            for _ in range(2)] for user in range(12)]
        if (time.time() - 2) // 60 != at:  # two answers to one user may lie on either side
            return None
        assert all(one == other for one, other in found)
        return found

    with ServiceProcess(campaign_bundle, workers=2, **settings) as one:
        for name, body in [("c1", BUDGET), ("c2", BUDGET), ("c3", BUDGET), ("c4", CAP)]:
            assert one.http.put(f"/campaigns/{name}", json=body, headers=headers).status_code == 200
        events = [{"user_id": f"user-{user:02d}", "ad_id": "ad-0004", "type": "impression"} for user in (1, 1, 2)]
        events += [{"user_id": "x", "ad_id": "ad-0002", "type": "click", "price_micros": 1_000_000}]
        sequences = one.http.post("/events?wait=applied", content="\n".join(map(json.dumps, events)),
                                  headers=headers | {"content-type": LINES}).json()["sequences"]
        assert sequences == [5, 6, 7, 8]
        with ServiceProcess(campaign_bundle, **settings) as other:
            found = [None]
            while None in found:  # two ticks at most
                at = (time.time() - 2) // 60
                found = [ads_of(process, at) for process in (one, other)]
        assert found[0] == found[1]
        closed, capped = {f"ad-{row:04d}" for row in range(2, 300, 12)}, {f"ad-{row:04d}" for row in range(4, 300, 12)}
        for user, (ads, _) in enumerate(found[0]):
            assert not closed & {*ads}
            assert (not capped & {*ads}) is (user == 1)
        of_paced = {f"ad-{row:04d}" for row in range(300) if row % 12 in (1, 3)}
        assert any(of_paced - {*ads} for ads, _ in found[0])
