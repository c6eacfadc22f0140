"""The service as a child process."""

import pytest

from loadtest.processes.logged_process import ProcessEndedError
from loadtest.processes.service_process import TOKEN, ServiceProcess, service_environment


def test_environment_has_no_settings_but_those_given(monkeypatch):
    for name in ("RETRIEVAL_PORT", "REDIS_URL"):
        monkeypatch.setenv(name, "of this shell")
    monkeypatch.setenv("KEPT", "yes")
    environment = service_environment(RETRIEVAL_MAX_TOP_K="10")
    assert "of this shell" not in environment.values()
    assert environment["KEPT"] == "yes"
    assert {name: value for name, value in environment.items() if name.startswith("RETRIEVAL_")} == {
        "RETRIEVAL_ADMIN_TOKEN": TOKEN, "RETRIEVAL_MAX_TOP_K": "10"}


def test_service_is_called_by_its_address_and_its_workers_are_known(tiny_bundle, tmp_path):
    environment = service_environment(RETRIEVAL_DRAIN_SECONDS="0")
    with ServiceProcess(tiny_bundle, tmp_path / "log", environment=environment, workers=2) as service:
        service.wait_until_ready()
        assert service.call("/livez") == (200, {"status": "alive"})
        status, reply = service.call("/retrieve", {"user_id": "nobody", "top_k": 3})
        assert (status, len(reply["ads"])) == (200, 3)
        assert service.call("/retrieve", {"top_k": 0})[0] == 422
        assert service.call("/admin/bundles")[0] == 409  # it serves a single bundle
        assert service.call("/admin/bundles", token="another")[0] == 401
        killed, other = service.worker_ids()
        service.kill_worker(killed)
        service.wait_for_event("bundle_ready", 3)
        assert set(service.live_worker_ids()) == {other, service.worker_ids()[2]}
        assert service.stop() == 0
    assert service.has_ended()
    assert service.events_named("listening")[0]["port"] == service.address[1]


def test_reason_is_given_when_the_service_cannot_start(tmp_path):
    with pytest.raises(ProcessEndedError, match=r"nowhere") as error:
        ServiceProcess(tmp_path / "nowhere", tmp_path / "log", environment=service_environment())
    assert "exit status" in str(error.value)
