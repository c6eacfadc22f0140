"""The console in a real Chromium, on a real service: what people see, by keyboard, on a phone, in the dark."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from loadtest.processes import service_process
from tests.resealed import reseal
from tests.service.console.browser import DESKTOP, PHONE, VIEWS, Console, chromium
from tests.service.console.shop import CURRENT, OTHER, write_shops
from tests.service.service_process import ServiceProcess

TOKENS = {"admin": service_process.TOKEN, "read": "a token for reading", "write": "a token for writing"}
SETTINGS = {"RETRIEVAL_READ_TOKEN": TOKENS["read"], "RETRIEVAL_WRITE_TOKEN": TOKENS["write"],
            "RETRIEVAL_QUALITY_SAMPLE_RATE": "1", "RETRIEVAL_SHADOW_SHARE": "1"}
READ = {"Authorization": f"Bearer {TOKENS['read']}"}
QUERY = {"user_id": "user-04", "top_k": 8}


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shops")
    write_shops(folder)

    def without_users(writer):
        for name in ("ids", "features.dense", "features.categorical", "features.multi_0.values", "history.values"):
            writer.array(f"users/{name}.npy", np.load(writer.path(f"users/{name}.npy"))[:0])
        for name in ("features.multi_0", "history"):
            writer.array(f"users/{name}.indptr.npy", np.zeros(1, np.int64))
        for name in ("items.values", "clickers.values", "lengths"):
            writer.array(f"similar/{name}.npy", np.load(writer.path(f"similar/{name}.npy"))[:0])
        writer.array("similar/items.indptr.npy", np.zeros(1, np.int64))
        writer.array("similar/clickers.indptr.npy", 0 * np.load(writer.path("similar/clickers.indptr.npy")))

    reseal(folder / CURRENT, folder / "nobody", without_users, counts={"items": 300, "users": 0})
    return folder


@pytest.fixture(scope="module")
def service(shops):
    with ServiceProcess(shops, **SETTINGS) as process:
        for user in range(6):
            process.http.post("/retrieve", json={"user_id": f"user-{user:02d}"}, headers=READ)
        yield process


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.fixture
def console(browser, service):
    """The console with all tokens; at the end nothing may have been forbidden by its policy, or failed."""
    found = Console(browser, service.url)
    found.fresh(TOKENS)
    found.complaints()
    yield found
    assert not [line for line in found.complaints() if "401" not in line and "404" not in line]


def answer(service, **body):
    return service.http.post("/retrieve", json={**QUERY, **body}, headers=READ).json()


def test_calls_are_shown_as_refused_until_tokens_are_entered_by_keyboard(console):
    console.fresh()
    console.submit(**QUERY)
    assert "401 unauthorized" in console.text(".failed")
    assert "the read token is missing or wrong" in console.text(".failed")
    console.click("Enter tokens")
    for scope in TOKENS:
        console.driver.find_element(By.CSS_SELECTOR, f"#tokens [name={scope}]").send_keys(TOKENS[scope])
    console.driver.switch_to.active_element.send_keys(Keys.ENTER)
    console.until("return !document.getElementById('tokens').open")
    console.go("ask")
    console.submit(**QUERY)
    assert len(console.rows("Ads, best first")) == 8
    kept = console.driver.execute_script("return [localStorage.length, document.cookie, sessionStorage.length]")
    assert kept == [0, "", 1]


def test_ads_are_shown_with_names_scores_and_stages_when_a_user_is_asked_for(console, service):
    console.submit(**QUERY)
    expected = answer(service)
    rows = console.rows("Ads, best first")
    assert [row[1].split()[-1] for row in rows] == [ad["ad_id"] for ad in expected["ads"]]
    assert [row[3] for row in rows] == [f"{ad['score']:.3f}" for ad in expected["ads"]]
    assert all(row[1].split()[0].isalpha() for row in rows if " " in row[1])
    assert "category" in rows[0][2]
    for word in ("user tower", "scorer", f"Eligible ads\n{expected['eligible']}"):
        assert word in console.text()


def test_features_and_context_of_the_form_are_those_of_the_request(console, service):
    console.submit(**QUERY, **{"user_features.age": "45", "user_features.interests": "running, art",
                               "context.device": "tv", "rank_by": "ecpm"})
    expected = answer(service, user_features={"age": 45, "interests": ["running", "art"]}, context={"device": "tv"},
                      rank_by="ecpm")
    assert [row[1].split()[-1] for row in console.rows("Ads, best first")] == [ad["ad_id"] for ad in expected["ads"]]
    console.submit(user_id="", rank_by="score")
    alone = answer(service, user_id="nobody-at-all", user_features={"age": 45, "interests": ["running", "art"]},
                   context={"device": "tv"})
    assert [row[1].split()[-1] for row in console.rows("Ads, best first")] == [ad["ad_id"] for ad in alone["ads"]]
    console.submit(**{"user_features.age": "", "user_features.interests": ""})
    assert "Give a user, or features" in console.text("form.request")
    console.submit(**{"user_features.age": "old"})
    assert "age is old, give a number" in console.text("form.request")


def test_walk_and_why_agree_with_the_answer(console, service):
    console.go("walk")
    console.submit(**QUERY, beam_width=4)
    levels = answer(service, beam_width=4)["latency_ms"]["levels"]
    assert f"{levels[-1]['candidates']} candidates, 8 returned" in console.text()
    assert "missed by" in console.text()
    dropped = [row for row in console.rows("The ads: candidates by rank") if row[-1] == "dropped"]
    console.go("why", ad_id=dropped[0][1])
    console.submit(user_id=QUERY["user_id"], top_k=8, beam_width=4)
    assert f"{dropped[0][1]} was scored, and is outscored" in console.text(".verdict")


def test_differences_are_marked_when_users_or_bundles_are_compared(console, service):
    console.go("compare")
    console.submit(user_id="user-04", second="user-05")
    rows = console.rows("Ads of both answers")
    first, second = ({ad["ad_id"] for ad in answer(service, user_id=user, top_k=10)["ads"]}
                     for user in ("user-04", "user-05"))
    assert sum(row[-1] == "only user-04" for row in rows) == len(first - second)
    assert sum(row[-1] == "only user-05" for row in rows) == len(second - first)
    console.go("compare", what="bundles", bundle=OTHER)
    console.submit(user_id="user-04")
    assert {f"only {CURRENT}", f"only {OTHER}"} & {row[-1] for row in console.rows("Ads of both answers")}


def test_ad_shows_its_status_and_its_reach(console, service):
    reach = service.http.get("/admin/reach/ad-0012", headers={"Authorization": f"Bearer {TOKENS['admin']}"}).json()
    clause = reach["users"]["clauses"][0]
    console.go("ad", id="ad-0012")
    assert console.rows("What each clause costs")[0][2] == f"{clause['times']:.2g} × the users are eligible"
    service.http.patch("/ads/ad-0012?wait=applied", json={"status": "paused"},
                       headers={"Authorization": f"Bearer {TOKENS['write']}"})
    console.go("ad", id="ad-0012")
    assert console.text(".state") == "paused"
    console.go("ad", id="no-such-ad")
    assert "404 ad_not_found" in console.text(".failed")


def test_tree_is_walked_down_by_its_links(console):
    console.go("tree")
    console.says("recent request")
    console.driver.find_element(By.CSS_SELECTOR, "tbody a").click()
    console.says("Level 2", "main")
    assert "root › node" in console.text(".way").replace("\n", " ")


def test_health_shows_overlap_cache_and_queue(console, service):
    console.go("health")
    console.says("sampled answers")
    for title in ("Live overlap", "Calibration", "User cache", "Queue", "Requests", "Answer"):
        assert title in console.text(".tiles")


def test_bundle_is_promoted_and_rolled_back_after_a_confirmation_and_shows_its_pictures(console, service):
    console.go("bundles")
    row = f"main tr:nth-child({1 + sorted([CURRENT, OTHER, 'nobody']).index(OTHER)})"
    console.click("Promote", row)
    console.click("Cancel", "#confirm")
    assert service.admin().json()["current"] == CURRENT
    console.click("Promote", row)
    console.driver.find_element(By.CSS_SELECTOR, "#confirm [name=force]").click()
    console.click("Promote", "#confirm")
    console.says(f"{OTHER} is served")
    console.go("ask")
    console.submit(**QUERY)
    assert console.until("return [...document.querySelectorAll('.ad img')].some((one) => one.naturalWidth > 0)")
    console.go("bundles")
    console.click("Roll back")
    console.click("Roll back", "#confirm")
    console.says(f"{CURRENT} is served")


def test_trials_begin_and_end_by_keyboard_after_a_confirmation_and_show_what_was_found(console, service):
    other = "nobody"  # which declares the same fields

    def begin(role):
        console.driver.find_element(By.CSS_SELECTOR, f"[aria-label='Begin a {role}'] button").send_keys(Keys.ENTER)
        if role == "canary":
            console.driver.find_element(By.CSS_SELECTOR, "#confirm [name=force]").send_keys(Keys.SPACE)
        console.driver.find_element(By.CSS_SELECTOR, "#confirm button.main").send_keys(Keys.ENTER)

    def done(what):
        console.says(f"{what}: done")
        console.until("return !document.querySelector('main .waiting')")

    def chosen(role, name, value):
        field = console.driver.find_element(By.CSS_SELECTOR, f"[aria-label='Begin a {role}'] [name={name}]")
        console.driver.execute_script("arguments[0].value = arguments[1]", field, value)

    console.go("trials")
    chosen("shadow", "bundle", other)
    begin("shadow")
    done(f"Shadow {other}")
    for user in range(6):
        answer(service, user_id=f"user-{user:02d}")
    service.wait_until(lambda: service.metrics()['retrieval_shadow_cpu_seconds_total'] > 0 and [
        value for name, value in service.metrics().items() if name.startswith("retrieval_shadow_overlap_count")])
    chosen("canary", "bundle", other)
    chosen("canary", "share", "0.5")
    begin("canary")
    done(f"Canary {other}")
    for user in range(20):
        answer(service, user_id=f"somebody-{user}")
    console.click("Look again")
    console.says(f"{other} in the shadow of {CURRENT}")
    assert {row[0] for row in console.rows("Sides")} == {"current", "canary"}
    assert "50.0 % of the users" in console.text()
    for role in ("canary", "shadow"):
        console.click(f"End the {role}")
        console.click("End", "#confirm")
        done(f"End the {role}")
    assert f"{other}: an admin call ended it" in console.text()


def test_reach_says_so_when_the_bundle_has_no_users(console, service):
    service.load("nobody")
    console.go("ad", id="ad-0024")
    assert "no table of users" in console.text()
    console.go("ask")
    console.submit(**QUERY)
    assert "unknown: neither bundle nor change log has it" in console.text()
    service.load(CURRENT)


def test_page_tells_and_waits_when_the_network_is_down(console):
    def offline(down):
        console.driver.execute_cdp_cmd("Network.enable", {})
        console.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {
            "offline": down, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})

    offline(True)
    console.driver.find_element(By.CSS_SELECTOR, "form.request [name=user_id]").send_keys("user-04", Keys.ENTER)
    console.says("The service does not answer. Trying again in 1 s", "#notice")
    offline(False)
    console.until("return document.querySelectorAll('.ad').length === 10")
    assert console.text("#notice") == ""
    console.complaints()


@pytest.mark.long
def test_page_tells_and_waits_when_the_service_is_down(browser, shops, tmp_path):
    environment = service_process.service_environment(RETRIEVAL_DRAIN_SECONDS="0", **SETTINGS)

    def started(port):
        return service_process.ServiceProcess(shops, tmp_path / "log", environment=environment, port=port)

    with started(0) as first:
        first.wait_until_ready()
        console = Console(browser, first.url)
        console.fresh(TOKENS)
        port = first.address[1]
    field = browser.find_element(By.CSS_SELECTOR, "form.request [name=user_id]")
    field.send_keys("user-04", Keys.ENTER)
    console.says("The service does not answer. Trying again in", "#notice")
    with started(port):
        console.until("return document.querySelectorAll('.ad').length === 10")
        assert console.text("#notice") == ""
    console.complaints()


def filled(console, view):
    """Opens a view with an answer in it."""
    console.go(view, **{"ad": {"id": "ad-0036"}}.get(view, {}))
    if view in ("ask", "walk"):
        console.submit(**QUERY, **({"beam_width": 4} if view == "walk" else {}))
    elif view == "why":
        console.submit(user_id="user-04", ad_id="ad-0100")
    elif view == "compare":
        console.submit(user_id="user-04", second="user-05")


def axe():
    """The script of the accessibility check, from the package that carries it."""
    package = importlib.util.find_spec("axe_core_python")
    return (Path(package.submodule_search_locations[0]) / "axe.min.js").read_text()


@pytest.mark.parametrize(("width", "dark", "views"), [
    (PHONE, True, VIEWS), (DESKTOP, False, ("ask", "health")),
    *(pytest.param(width, dark, VIEWS, marks=pytest.mark.long)
      for width, dark in ((DESKTOP, False), (DESKTOP, True), (PHONE, False)))])
def test_every_view_is_accessible_and_fits_its_window(console, width, dark, views):
    console.fresh(TOKENS, width=width, dark=dark)
    script = axe()
    for view in views:
        filled(console, view)
        console.driver.execute_script("for (const one of document.querySelectorAll('details')) one.open = true;")
        console.driver.execute_script(script)
        found = console.driver.execute_async_script(
            "axe.run(document, {resultTypes: ['violations']}).then((found) => arguments[0](found.violations))")
        serious = [f"{one['id']}: {node['html'][:120]}" for one in found if one["impact"] in ("serious", "critical")
                   for node in one["nodes"]]
        assert not serious, view
        assert console.driver.execute_script("return document.documentElement.scrollWidth") <= width, view


def test_keyboard_alone_is_enough_and_where_it_is_is_seen(console):
    body = console.driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert console.driver.switch_to.active_element.text == "Skip to the view"
    reached = set()
    for _ in range(12):
        console.driver.switch_to.active_element.send_keys(Keys.TAB)
        focused = console.driver.switch_to.active_element
        reached.add(focused.get_attribute("name") or focused.text)
        assert focused.value_of_css_property("outline-style") != "none"
    assert {"Tokens", "Ask", "Bundles", "user_id", "top_k"} <= reached
