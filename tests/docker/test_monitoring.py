"""Rules and dashboard ask for what the service says: each expression parses, each name and label is exported."""

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from index_store.bundle import pointer
from index_store.bundle.pointer import Pointer
from index_store.bundle.sharding import shard_bundle
from tests.docker.monitoring import DASHBOARD, DOCKER, PANELS, RECORDED, expressions, selectors
from tests.resealed import reseal
from tests.service.cluster.running_shards import ServerThread, book_of
from tests.service.http.change_log_calls import TOKEN
from tests.service.service_process import ADMIN_TOKEN, ServiceProcess
from tests.service.test_docs import documented_metrics

OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "instance"}}
OF_A_SCRAPE = {"instance", "job"}


@pytest.fixture(scope="module")
def exported(tiny_bundle, tmp_path_factory):
    """Metric name -> label names -> values, as a running service that has answered says them at /metrics.

    It has a canary, a shadow, and a Redis that does not answer; another one is the root of two shards.
    """
    folder, log = tmp_path_factory.mktemp("monitored") / "bundles", tmp_path_factory.mktemp("changes") / "log"
    for name in ("now", "new"):
        reseal(tiny_bundle, folder / name, lambda writer, name=name: writer.json("evaluation.json", {"note": name}))
    pointer.replace(folder, Pointer("now"), None)
    with ServiceProcess(folder, RETRIEVAL_QUALITY_SAMPLE_RATE="1", RETRIEVAL_CHANGE_LOG=str(log),
                        RETRIEVAL_CALIBRATION_SAMPLE_RATE="1", RETRIEVAL_WRITE_TOKEN=TOKEN, RETRIEVAL_SHADOW_SHARE="1",
                        REDIS_URL="redis://127.0.0.1:1") as service:
        for path, body in (("shadow", {}), ("canary", {"share": 0.5, "force": True})):
            begun = service.http.post(f"/admin/{path}", json={"bundle": "new", **body}, timeout=150,
                                      headers={"authorization": f"Bearer {ADMIN_TOKEN}"})
            assert begun.is_success, begun.text
        for number in range(20):
            service.retrieve(user_id=f"u{number}", top_k=5)
        events = b"\n".join(b'{"user_id":"u1","ad_id":"ad-0001","type":"%s"}' % kind
                            for kind in (b"impression", b"click"))
        service.http.post("/events", content=events, headers={"authorization": f"Bearer {TOKEN}",
                                                              "content-type": "application/x-ndjson"})
        service.wait_until(lambda: "retrieval_calibration_predicted_total{" in service.http.get("/metrics").text)
        service.http.get("/nowhere")
        service.wait_until(lambda: "retrieval_live_overlap_count" in service.http.get("/metrics").text)
        service.wait_until(lambda: "retrieval_shadow_drift_count" in service.http.get("/metrics").text)
        text = service.http.get("/metrics").text
    return _labels(text + _scrape_of_a_root(tiny_bundle, tmp_path_factory.mktemp("sharded")))


def _scrape_of_a_root(bundle, folder):
    """What a root says that has asked its shards."""
    shard_bundle(bundle, 2, folder / "root")
    servers = [ServerThread(folder / "root", number) for number in range(2)]
    with ServiceProcess(folder / "root", RETRIEVAL_SHARDS=str(book_of(folder / "book.json", *servers)),
                        RETRIEVAL_SHARD_TIMEOUT_MS="30000") as service:
        service.retrieve(user_id="u1", top_k=300)
        text = service.http.get("/metrics").text
    for server in servers:
        server.close()
    return "".join(f"{line}\n" for line in text.splitlines() if "retrieval_shard" in line)


def _labels(text):
    """Metric name -> label names -> values."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


@pytest.mark.parametrize(("place", "expression"), expressions().items(), ids=expressions())
def test_expression_names_what_the_service_exports_when_parsed(place, expression, exported):
    known = {**exported, **OF_PROMETHEUS, **{name: {"bundle_id"} for name in RECORDED}}
    for name, matchers in selectors(expression):
        assert name in known, f"{place}: the service does not export {name}"
        assert set(matchers) <= set(known[name]) | OF_A_SCRAPE, f"{place}: {name} has no such label"
        assert matchers.get("le", "+Inf") in exported.get(name, {}).get("le", {"+Inf"}), f"{place}: no such bucket"


@pytest.mark.parametrize(("label", "metric"), [("stage", "retrieval_stage_seconds_count"),
                                               ("result", "retrieval_user_cache_total"),
                                               ("reason", "retrieval_admission_refused_total"),
                                               ("reason", "retrieval_degraded_total"),
                                               ("reason", "retrieval_redis_failures_total")])
def test_expression_uses_only_label_values_of_closed_lists(label, metric, exported):
    asked = {value for text in expressions().values() for name, matchers in selectors(text)
             if name.rpartition("_")[0] == metric.rpartition("_")[0]
             for value in matchers.get(label, "").split("|") if value}
    assert asked <= exported[metric][label]


def test_dashboard_shows_every_metric_when_compared_with_the_docs():
    shown = {name for text in expressions().values() for name, _ in selectors(text)}
    # These say how busy a meter is, not how the service is.
    kept_out = {"retrieval_quality_skipped_total", "retrieval_calibration_skipped_total"}
    missing = {name for name in documented_metrics() - kept_out
               if not {name, f"{name}_count", f"{name}_sum", f"{name}_bucket"} & shown}
    assert not missing


def test_dashboard_asks_the_provisioned_source_when_loaded():
    (source,) = yaml.safe_load((DOCKER / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    places = [*PANELS, *(target for panel in PANELS for target in panel["targets"]),
              *DASHBOARD["templating"]["list"], *DASHBOARD["annotations"]["list"]]
    assert {(place["datasource"]["type"], place["datasource"]["uid"]) for place in places} == {
        (source["type"], source["uid"])}


def test_panels_have_ids_titles_and_places_of_their_own_when_drawn():
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    cells = [(x, y) for panel in panels for place in [panel["gridPos"]]
             for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert all(panel["description"] for panel in PANELS)
