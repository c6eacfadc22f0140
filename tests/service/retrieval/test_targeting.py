"""Targeting over real HTTP: every answer against a brute force over all ads, whose eligibility is evaluated plainly."""

import pytest

from index_store.bundle.bundle import Bundle
from tests.index_store.worlds import plainly
from tests.service.contract.test_bad_input import refused
from tests.service.service_process import ServiceProcess
from tests.targeted_bundle import PREDICATES, raw_ads, raw_users, write_targeted_bundle


@pytest.fixture(scope="module")
def targeted(tiny_bundle, tmp_path_factory):
    """A service whose ads have predicates, the decoded ads and users."""
    folder = tmp_path_factory.mktemp("targeted") / "bundle"
    write_targeted_bundle(tiny_bundle, folder)
    content = Bundle.open(folder).content
    with ServiceProcess(folder) as process:
        yield process, raw_ads(content), raw_users(content)


@pytest.fixture(scope="module")
def scores(tiny_bundle, service):
    """What the same model says of all ads where no ad has a predicate: user, features -> ads best first."""
    def ask(user_id, features=None):
        return service.retrieve(user_id=user_id, user_features=features, top_k=300, exact=True)["ads"]

    return ask


def accepts(ad_id, audience):
    number = int(ad_id.removeprefix("ad-")) % 4
    return number == 0 or plainly(PREDICATES[number - 1], audience)


REQUESTS = [
    {"user_id": "user-03"},
    {"user_id": "user-04", "context": {"device": "tv"}},
    {"user_id": "user-05", "context": {"device": "phone", "hour": 3, "slots": []}},
    {"user_id": "user-06", "context": {"hour": 7, "slots": ["side", "top"]}},
    {"user_id": "user-07", "context": {"device": None, "hour": None}},
    {"user_id": "user-07", "context": {"place": {"lat": 52.3, "lon": 4.92}}},
    {"user_id": "user-07", "context": {"place": {"lat": 52.2, "lon": 4.92}}},
    {"user_id": "user-07", "context": {"place": {"lat": 0.1, "lon": -179.9}, "device": "tv"}},
    {"user_id": "stranger"},
    {"user_id": "stranger", "user_features": {"country": "atlantis", "age": 39.99}},
    {"user_id": "stranger", "user_features": {"country": 7, "age": 40}},
    {"user_id": "user-08", "user_features": {"age": None, "interests": []}},
    {"user_id": "user-08", "user_features": {"country": "country-1", "interests": ["interest-2", "unheard of"]}},
    {"user_id": "user-09", "targeting": {"field": "category", "in": ["c3", "c5", "c99"]}},
    {"user_id": "user-09", "targeting": {"all": [{"not": {"field": "tags", "in": ["tag-1", "tag-2"]}},
                                                 {"field": "price", "at_least": -0.5, "at_most": 0.75}]}},
    {"user_id": "user-09", "targeting": {"any": [{"field": "brand", "in": ["brand-4"]},
                                                 {"field": "ad_id", "in": ["ad-0004", "ad-0005", "ad-0007", 1]}]}},
    {"user_id": "user-09", "targeting": {"not": {"field": "brand", "in": [f"brand-{i}" for i in range(20)]}}},
    {"user_id": "user-10", "targeting": {"field": "category", "in": ["c4"]}, "context": {"device": "tv", "hour": 1},
     "exclude_ad_ids": ["ad-0004", "ad-0016", "ad-0001", "ad-0004", "none"]},
]


@pytest.mark.parametrize("asked", REQUESTS)
def test_answer_is_brute_force_over_eligible_ads_when_the_beam_is_unlimited(targeted, scores, asked):
    service, ads, users = targeted
    audience = users.get(asked["user_id"], {}) | asked.get("user_features", {}) | asked.get("context", {})
    eligible = {ad for ad in ads if accepts(ad, audience) and plainly(asked.get("targeting", {"all": []}), ads[ad])
                and ad not in asked.get("exclude_ad_ids", [])}
    expected = [ad for ad in scores(asked["user_id"], asked.get("user_features")) if ad["ad_id"] in eligible]
    for _ in range(2):  # cold, then from the cache of signatures
        for how in ({"beam_width": 1000}, {"exact": True}):
            reply = service.retrieve(**asked, **how, top_k=25)
            assert reply["eligible"] == len(eligible)
            assert [ad["ad_id"] for ad in reply["ads"]] == [ad["ad_id"] for ad in expected[:25]]
            assert [ad["score"] for ad in reply["ads"]] == pytest.approx([ad["score"] for ad in expected[:25]])
    for top_k in (1, 25, 300):
        for beam in ({}, {"beam_width": 1}):
            reply = service.retrieve(**asked, **beam, top_k=top_k)
            returned = {ad["ad_id"] for ad in reply["ads"]}
            assert returned <= eligible
            assert len(returned) == len(reply["ads"]) == min(top_k, len(eligible))


@pytest.mark.parametrize("asked", [
    {"targeting": {"all": [{"field": "category", "in": ["c3"]}, {"field": "category", "in": ["c4"]}]}},
    {"targeting": {"field": "price", "at_least": 2, "at_most": 1}},
    {"targeting": {"field": "brand", "in": []}},
    {"targeting": {"field": "brand", "in": ["no such brand"]}},
    {"targeting": {"any": []}},
    {"targeting": {"field": "ad_id", "in": ["ad-0004"]}, "exclude_ad_ids": ["ad-0004"]},
])
def test_answer_is_empty_and_says_so_when_targeting_contradicts_itself(targeted, asked):
    for how in ({}, {"exact": True}):
        reply = targeted[0].retrieve(user_id="user-03", **asked, **how)
        assert (reply["ads"], reply["eligible"], reply["pairs_scored"]) == ([], 0, 0)


def test_everything_is_eligible_without_targeting(service):
    assert service.retrieve(user_id="user-03")["eligible"] == 300
    assert service.retrieve(user_id="user-03", targeting=None, context=None)["eligible"] == 300
    assert service.retrieve(user_id="user-03", targeting={"all": []}, context={})["eligible"] == 300
    assert service.retrieve(user_id="user-03", exclude_ad_ids=["ad-0001", "none"])["eligible"] == 299


@pytest.mark.parametrize(("field", "value", "error_type", "said"), [
    ("targeting", {}, "invalid_targeting", "targeting has the keys []"),
    ("targeting", [], "wrong_type", "targeting is []"),
    ("targeting", "category = c3", "wrong_type", "targeting is"),
    ("targeting", {"all": [{"any": []}, {"field": "category", "in": ["c3", {}]}]}, "invalid_targeting",
     "targeting.all[1].in[1]"),
    ("targeting", {"not": {"field": "colour", "in": ["red"]}}, "invalid_targeting",
     "targeting.not.field is 'colour', not a field that can be read here; "
     "use one of ad_id, brand, category, price, tags"),
    ("targeting", {"field": "country", "in": ["country-1"]}, "invalid_targeting", "targeting.field is 'country'"),
    ("targeting", {"field": "ad_id", "at_least": 5}, "invalid_targeting", "targeting.at_least"),
    ("targeting", {"field": "price", "at_most": "9"}, "invalid_targeting", "targeting.at_most is '9', a str"),
    ("targeting", {"field": "price", "at_most": 1e39}, "invalid_targeting", "1e+39"),
    ("targeting", {"field": "ad_id", "in": [""]}, "invalid_targeting", "targeting.in[0] is empty"),
    ("targeting", {"field": "x" * 100_000, "in": []}, "invalid_targeting", "targeting.field is 'xxx"),
    ("targeting", {"__import__('os').system('true')": 1}, "invalid_targeting", "do not make a predicate"),
    ("context", {"weather": "rain"}, "invalid_context",
     "context field 'weather' is unknown; in context, this bundle knows ['device', 'hour', 'place', 'slots']"),
    ("context", {"age": 30}, "invalid_context", "'age' is unknown"),
    ("context", {"hour": "noon"}, "invalid_context", "context.hour is 'noon', a str; in context, give a number"),
    ("context", {"device": ["tv"]}, "invalid_context", "context.device"),
    ("context", {"slots": "top"}, "invalid_context", "context.slots is a str"),
    ("context", {"place": {"lat": 91, "lon": 0}}, "invalid_context",
     "context.place.lat is 91; in context, give degrees from -90 to 90"),
    ("context", {"place": "Amsterdam"}, "invalid_context", "context.place is 'Amsterdam', a str"),
    ("targeting", {"field": "price", "near": [{"lat": 52, "lon": 5, "km": 1}]}, "invalid_targeting",
     "targeting.near is about places, but 'price' is a dense field; name a context field of kind location"),
    ("context", ["tv"], "wrong_type", 'context is ["tv"]'),
    ("context", "tv", "wrong_type", 'context is "tv"'),
])
def test_request_is_refused_when_targeting_or_context_is_bad(targeted, field, value, error_type, said):
    response = targeted[0].http.post("/retrieve", json={"user_id": "user-01", field: value})
    body = refused(response, error_type)
    assert said in f"{body['message']}; {body['help']}"
    assert len(body["message"]) < 500


def test_request_is_refused_when_its_predicate_is_nested_too_deep(targeted):
    predicate = {"all": []}
    for _ in range(200):
        predicate = {"not": predicate}
    body = refused(targeted[0].http.post("/retrieve", json={"user_id": "u", "targeting": predicate}),
                   "invalid_targeting")
    assert "16 are allowed" in body["message"]


def test_info_tells_the_context_fields_when_asked(targeted, service):
    assert targeted[0].http.get("/info").json()["context"] == {"device": "categorical", "hour": "dense",
                                                               "place": "location", "slots": "multi"}
    assert service.http.get("/info").json()["context"] == {}
