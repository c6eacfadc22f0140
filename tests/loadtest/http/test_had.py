"""What users had already, among what a service answers, on the tiny bundle."""

import json

import pytest

from index_store.bundle.bundle import Bundle
from loadtest.__main__ import main
from loadtest.processes.service_process import ServiceProcess, service_environment
from tests.commands import run


@pytest.fixture(scope="module")
def service(tiny_bundle, tmp_path_factory):
    log = tmp_path_factory.mktemp("had") / "service.log"
    with ServiceProcess(tiny_bundle, log, environment=service_environment()) as service:
        service.wait_until_ready()
        yield service


def share(service, bundle, excludes):
    """The share, counted from plain HTTP."""
    found = answered = 0
    content = bundle.content
    for row, user in enumerate(content.users.ids):
        history = {content.encoder.item_ids[ad].decode() for ad in content.users.history.row(row)}
        if history:
            _, reply = service.call("/retrieve", {"user_id": user.decode(), "top_k": 20, "exclude_history": excludes})
            found += len(history & {ad["ad_id"] for ad in reply["ads"]})
            answered += len(reply["ads"])
    return found / answered


def test_the_share_is_told_without_and_with_exclude_history(service, tiny_bundle):
    done = run(main, "had", "--url", service.url, "--bundle", tiny_bundle)
    assert done.returncode == 0
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["had"] == pytest.approx(share(service, Bundle.open(tiny_bundle), False)) != 0
    assert report["had_with_exclude_history"] == 0
    assert "with exclude_history 0.0%" in done.stdout


def test_status_is_1_when_nothing_answers(tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("monn_hill.settings.TIMEOUT", 0.1)
    assert run(main, "had", "--url", "http://127.0.0.1:1", "--bundle", tmp_path).returncode == 1
    done = run(main, "had", "--url", "no url", "--bundle", tiny_bundle)
    assert done.returncode == 1
    assert "no url" in done.stderr
