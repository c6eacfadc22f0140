"""The stack for real: images, nginx, Redis, Prometheus and locust on a Docker engine. `make lab` runs this."""

import contextlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.docker.monitoring import PANELS, ROWS, expressions
from tests.docker.stack import OPERATORS, PROMETHEUS, PUBLIC, Stack, docker, secrets, wait_until
from tests.docker.test_kubernetes import CONTAINER

pytestmark = pytest.mark.lab

REQUESTS = 'sum by (instance) (retrieval_requests_total{endpoint="/retrieve", status="200"})'
MOST_MEGABYTES = 500
"""Of the service's image. Debian and Python are half of it, ONNX Runtime and numpy most of the rest."""


@pytest.fixture(scope="module")
def stack():
    started = Stack()
    try:
        said = started.start()
        assert "it answers: HTTP 200" in said
        yield started
    finally:
        started.end()


def test_all_containers_are_healthy_when_up(stack):
    names = set(stack.containers())
    assert {"service", "service-2", "nginx", "redis", "change-log", "prometheus"} <= names
    wait_until(lambda: all(entry["State"]["Health"]["Status"] == "healthy" for entry in stack.containers().values()))


def test_no_container_is_root_or_can_write_to_its_image_when_inspected(stack):
    for name, entry in stack.containers().items():
        users = {line.split()[0] for line in docker("top", entry["Id"], "-eo", "uid,pid").splitlines()[1:]}
        assert users, name
        assert "0" not in users, name
        assert entry["HostConfig"]["ReadonlyRootfs"] is True, name
        assert entry["HostConfig"]["CapDrop"] == ["ALL"], name
        assert entry["HostConfig"]["Memory"] > 0, name


def test_image_of_the_service_is_slim_and_has_no_torch(stack):
    megabytes = int(docker("image", "inspect", "--format", "{{.Size}}", "retrieval-service")) / 1e6
    print(f"the image of the service has {megabytes:.0f} MB")
    assert megabytes < MOST_MEGABYTES
    search = "import importlib.util as i; print(i.find_spec('torch'), i.find_spec('pyarrow'))"
    assert stack.compose("exec", "-T", "service", "python", "-c", search).split() == ["None", "None"]


def test_image_of_the_service_has_the_program_that_kubernetes_runs_before_it_stops(stack):
    program, _ = CONTAINER["lifecycle"]["preStop"]["exec"]["command"]
    stack.compose("exec", "-T", "service", program, "0")


def test_commands_of_the_load_image_run_when_the_service_is_up(stack):
    stack.compose("--profile", "load", "build", "locust")
    command = ["--profile", "load", "run", "--rm", "-T", "--entrypoint", "python", "locust", "-m", "loadtest"]
    for name in ("http", "fuzz"):
        assert "--url URL" in stack.compose(*command, name, "--help")


def test_both_replicas_answer_when_asked_through_nginx(stack):
    replies = [stack.retrieve(user_id="u1", top_k=5) for _ in range(20)]
    assert {len(reply["ads"]) for reply in replies} == {5}
    wait_until(lambda: [float(sample["value"][1]) > 0 for sample in stack.query(REQUESTS)] == [True, True])


def test_redis_knows_what_another_replica_computed_when_asked_in_turn(stack):
    ads = [ad["ad_id"] for ad in stack.retrieve(user_id="u1", top_k=100)["ads"]]

    def found():
        body = {"user_id": "lab", "user_features": {"history": random.sample(ads, 20)}}  # nobody has computed that yet
        assert stack.retrieve(**body)["user_cache"] == "miss"
        time.sleep(0.5)  # it is written to Redis after the reply
        return sorted(stack.retrieve(**body)["user_cache"] for _ in range(12))

    # A busy machine may take longer than the service waits for Redis; that is a miss, and no failure.
    wait_until(lambda: found() == ["local"] * 11 + ["redis"])


def test_prometheus_scrapes_every_replica_and_judges_every_rule_when_up(stack):
    wait_until(lambda: len(stack.query('up{job="retrieval"} == 1')) == 2)
    groups = stack.http.get(f"{PROMETHEUS}/api/v1/rules").json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 20
    wait_until(lambda: all(rule["health"] == "ok" for group in stack.http.get(f"{PROMETHEUS}/api/v1/rules").json()[
        "data"]["groups"] for rule in group["rules"]))


def test_every_panel_has_data_when_requests_were_answered(stack):
    for number in range(40):
        stack.retrieve(user_id=f"u{number}", top_k=5)
    empty_when_well = {"Refusals by type", "Live overlap", "Live calibration"}  # the last needs impressions
    of_others = {"Canary and shadow", "Shards"}  # rows that test_monitoring fills: no trial runs here, and no root

    def without_data():
        texts = expressions()
        return [panel["title"] for panel in PANELS
                if panel["title"] not in empty_when_well and ROWS[panel["title"]] not in of_others
                and not any(stack.query(texts[f"panel {panel['title']}, {target['refId']}"])
                            for target in panel["targets"])]

    with contextlib.suppress(AssertionError):
        wait_until(lambda: not without_data())
    assert without_data() == []


def test_admin_paths_are_closed_on_the_public_port_of_nginx(stack):
    for path in ("/metrics", "/admin/bundles"):
        refused = stack.http.get(f"{PUBLIC}{path}")
        assert (refused.status_code, refused.json()["error_type"]) == (404, "not_found")
    assert stack.http.get(f"{OPERATORS}/admin/bundles").status_code == 401
    assert stack.http.get(f"{OPERATORS}/retrieve:batch").status_code == 404
    for path in ("/console", "/console/main.js"):
        assert stack.http.get(f"{OPERATORS}{path}").status_code == 200
        assert stack.http.get(f"{PUBLIC}{path}").status_code == 404


def test_request_id_of_the_caller_reaches_the_reply_when_sent_through_nginx(stack):
    reply = stack.http.post(f"{PUBLIC}/retrieve", json={"user_id": "u1"}, headers={"X-Request-ID": "from-the-lab"})
    assert reply.json()["request_id"] == "from-the-lab"


def test_all_replicas_follow_the_pointer_when_a_bundle_is_loaded_and_rolled_back(stack):
    first = stack.admin("GET", "bundles")["current"]
    copy = f"cp -r /bundles/{first} /bundles/copy && sync"
    stack.compose("exec", "-T", "service", "sh", "-c", copy)
    assert stack.admin("POST", "bundles/load", bundle="copy")["bundle"] == "copy"
    followed = 'retrieval_bundle_pointer_mismatch == 0 and on (instance) retrieval_bundle_swaps_total > {}'
    wait_until(lambda: len(stack.query(followed.format(0))) == 2)
    assert stack.admin("POST", "bundles/rollback")["bundle"] == first
    wait_until(lambda: len(stack.query(followed.format(1))) == 2)


def seen(stack, ad):
    """Outcomes of an ad in answers of both replicas, and the last change that each answer takes into account."""
    replies = [stack.http.post(f"{PUBLIC}/explain", json={"user_id": "u1", "ad_id": ad}).json() for _ in range(20)]
    return {(reply["outcome"], reply["as_of"]) for reply in replies}


def test_writes_pass_the_operators_port_alone_and_need_their_token(stack):
    ad = stack.retrieve(user_id="u1", top_k=1)["ads"][0]["ad_id"]
    for method, path in (("PATCH", f"/ads/{ad}"), ("GET", "/changes"), ("POST", "/ads:batch"), ("POST", "/events")):
        assert stack.http.request(method, f"{PUBLIC}{path}", json={}).status_code == 404
        assert stack.http.request(method, f"{OPERATORS}{path}", json={}).status_code in (401, 404)  # 404: no such call
    admin = {"Authorization": f"Bearer {secrets()['ADMIN_TOKEN']}"}
    refused = stack.http.patch(f"{OPERATORS}/ads/{ad}", json={"status": "paused"}, headers=admin)
    assert (refused.status_code, refused.json()["error_type"]) == (403, "wrong_scope")


def test_ad_is_gone_from_both_replicas_when_paused_through_nginx(stack):
    ad = stack.retrieve(user_id="u1", top_k=1)["ads"][0]["ad_id"]
    version = stack.write("PATCH", f"/ads/{ad}?wait=applied", {"status": "paused"}).json()["version"]
    wait_until(lambda: seen(stack, ad) == {("filtered", version)})
    assert stack.write("PATCH", f"/ads/{ad}?wait=applied", {"status": "active"}).json()["version"] == version + 1
    wait_until(lambda: seen(stack, ad) == {("returned", version + 1)})


def test_redis_of_the_change_log_loses_nothing_when_killed_and_requests_for_ads_go_on(stack):
    ads = [ad["ad_id"] for ad in stack.retrieve(user_id="u1", top_k=30)["ads"]]
    container, acknowledged, statuses = stack.containers()["change-log"]["Id"], {}, []
    for number, ad in enumerate(ads):
        if number == 10:
            docker("kill", container)
            reply = stack.write("PATCH", f"/ads/{ad}", {"status": "paused"})
            assert (reply.status_code, reply.json()["error_type"]) == (503, "change_log_unavailable")
            statuses = [stack.http.post(f"{PUBLIC}/retrieve", json={"user_id": f"u{user}"}).status_code
                        for user in range(50)]
            docker("start", container)
        wait_until(lambda ad=ad: acknowledged.update(
            {ad: stack.write("PATCH", f"/ads/{ad}", {"status": "paused"},
                             **{"Idempotency-Key": f"pause-{ad}"}).json().get("version")}) or acknowledged[ad])
    assert statuses == [200] * 50
    last = max(acknowledged.values())
    changes = [change for after in range(0, last, 1000)
               for change in stack.write("GET", f"/changes?after={after}&limit=1000").json()["changes"]]
    assert [change["sequence"] for change in changes] == list(range(1, last + 1))
    assert {change["id"]: change["sequence"] for change in changes if change["id"] in acknowledged
            and change["fields"] == {"status": "paused"}} == acknowledged
    wait_until(lambda: seen(stack, ads[0]) == {("filtered", last)})
    for ad in ads:
        stack.write("PATCH", f"/ads/{ad}", {"status": "active"})


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_no_request_fails_when_a_replica_goes_and_comes_back_under_load(stack, how):
    container = stack.containers()["service-2"]["Id"]
    statuses, over = [], threading.Event()

    def ask(user):
        while not over.is_set():
            reply = stack.http.post(f"{PUBLIC}/retrieve", json={"user_id": f"u{user}", "top_k": 5})
            statuses.append(reply.status_code)
            over.wait(0.02)

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, user) for user in range(4)]
        docker(how, container)
        docker("start", container)
        wait_until(lambda: stack.containers()["service-2"]["State"]["Health"]["Status"] == "healthy")
        over.set()
        for future in asking:
            future.result()
    print(f"{len(statuses)} requests, {sum(status != 200 for status in statuses)} of them failed")
    assert len(statuses) > 100
    assert set(statuses) == {200}


def test_users_of_locust_are_answered_within_the_budget_when_they_ask(stack):
    stack.compose("--profile", "load", "build", "locust")
    # A second is no promise to anybody, but what machines that are busy otherwise can keep.
    patience = ["-e", "LOCUST_P99_MS=1000", "-e", "LOCUST_TIMEOUT_MS=1000"]
    report = stack.compose("--profile", "load", "run", "--rm", "-T", *patience, "locust")
    print(report)
    assert "PASSED" in report
