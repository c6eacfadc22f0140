"""The check of a candidate: its verdicts, and the process that it runs in."""

import asyncio
import os
import signal
from pathlib import Path

import orjson
import pytest
from pydantic import SecretStr

from index_store.changes.change_log import Kind, Write
from service.bundles.control_channel import Release
from service.live.log_place import LogPlace
from service.settings import Settings
from service.supervisor.candidate import (
    _VERDICT,
    Accepted,
    Candidate,
    Incumbent,
    Rejected,
    compared,
    fault_of,
    foreign_to,
    misfit_of,
)
from service.supervisor.processes import Processes
from service.telemetry import metrics
from tests.resealed import reseal
from tests.service.bundle_store import BundleStore
from tests.tiny_bundle import write_tiny_bundle

SETTINGS = Settings(gate_latency_rise=5)
REQUESTS = [orjson.dumps({"user_id": f"user-{number:02d}"}) for number in range(20)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return BundleStore.write(tmp_path_factory.mktemp("store") / "bundles")


def test_no_fault_is_found_when_a_bundle_is_sound(store):
    assert asyncio.run(fault_of(store.folder / "red")) is None


def test_fault_says_what_and_what_to_do_when_a_bundle_is_broken_or_answers_wrongly(store, tmp_path):
    copy = store.copy(tmp_path / "bundles")
    copy.add_broken("flipped")
    copy.add_wrong("wrong")
    flipped, wrong, gone = (asyncio.run(fault_of(copy.folder / name)) for name in ("flipped", "wrong", "gone"))
    assert (flipped.fault, wrong.fault, gone.fault) == ("broken", "golden", "broken")
    assert flipped.fact.startswith(f"bundle {copy.folder / 'flipped'}: scorer_1.onnx: has checksum")
    assert flipped.remedy == "restore the bundle from its source or export it again"
    assert "golden request 1 scores" in wrong.fact
    assert wrong.remedy.startswith("export it again")
    assert gone.reason == f"{gone.fact}; {gone.remedy}"


def test_bundle_is_rejected_when_it_does_not_fit_to_the_change_log(tiny_bundle, tmp_path):
    place = LogPlace(SecretStr(str(tmp_path / "log")))
    reseal(tiny_bundle, tmp_path / "later", lambda writer: None, changes_included=2)
    rejected = misfit_of(tmp_path / "later", place)
    assert (rejected.fault, "up to 2, but the change log ends with 0" in rejected.fact) == ("changes", True)
    log = place.open()
    log.append([Write(kind=Kind.EVENT, id="u", fields={})] * 3)
    assert misfit_of(tmp_path / "later", place) is None
    reseal(tiny_bundle, tmp_path / "mine", lambda writer: None, changes_included=2, change_log_id=log.log_id)
    assert misfit_of(tmp_path / "mine", place) is None
    reseal(tiny_bundle, tmp_path / "other", lambda writer: None, changes_included=2, change_log_id="c0ffee")
    rejected = misfit_of(tmp_path / "other", place)
    assert rejected.fault == "changes"
    assert f"includes changes of change log c0ffee, but this is change log {log.log_id}" in rejected.fact
    log.trim(3)
    rejected = misfit_of(tmp_path / "later", place)
    assert (rejected.fault, "its entries up to 3 were removed" in rejected.fact) == ("changes", True)
    log.close()
    (tmp_path / "log").write_text("this is no log")
    assert misfit_of(tmp_path / "later", place) is None
    assert misfit_of(tmp_path / "later", None) is None


def test_bundle_is_rejected_when_it_does_not_understand_what_requests_bring(tmp_path):
    write_tiny_bundle(tmp_path / "now", context=True)
    write_tiny_bundle(tmp_path / "plain")
    rejected = foreign_to(tmp_path / "plain", tmp_path / "now")
    assert rejected.fault == "fields"
    assert "context field hour (categorical)" in rejected.fact
    assert foreign_to(tmp_path / "now", tmp_path / "plain") is None
    assert foreign_to(tmp_path / "plain", None) is None


@pytest.mark.parametrize(("least", "heard"), [(1, True), (2, True), (3, False), (0, False)])
def test_shadow_is_heard_when_enough_was_compared(least, heard):
    now, new = (Release(name, Path(name), f"{name} of {least}") for name in ("now", "new"))
    for _ in range(2):
        metrics.SHADOW_OVERLAP.labels(new.bundle_id, now.bundle_id).observe(0.5)
    incumbent = Incumbent.of(now, new, [b"{}"], Settings(gate_shadow_comparisons=least))
    assert (incumbent.folder, incumbent.requests) == (now.folder, [b"{}"])
    assert (incumbent.evidence is not None) == heard


def test_bundle_is_accepted_without_a_table_when_there_is_no_incumbent(store):
    assert compared(store.folder / "red", None) == Accepted()


def test_bundle_is_rejected_with_both_values_when_it_is_worse_than_the_incumbent(tiny_bundle, tmp_path):
    write_tiny_bundle(tmp_path / "fewer", n_items=250)
    rejected = compared(tmp_path / "fewer", Incumbent(tiny_bundle, REQUESTS, SETTINGS))
    assert rejected.fault == "worse"
    assert "is worse than tiny, which serves now, in: " in rejected.fact
    assert "ads in the index" in rejected.fact
    assert "force" in rejected.remedy
    assert "300" in rejected.details
    assert "250" in rejected.details


def test_bundle_is_accepted_with_a_table_when_it_is_as_good(tiny_bundle, tmp_path):
    reseal(tiny_bundle, tmp_path / "equal", lambda writer: None)
    accepted = compared(tmp_path / "equal", Incumbent(tiny_bundle, REQUESTS, SETTINGS))
    assert isinstance(accepted, Accepted)
    assert "20 recorded requests" in accepted.comparison


@pytest.mark.parametrize("verdict", [Accepted(), Accepted("a table"), Rejected("check", "a; b", "c", "d\ne")])
def test_verdict_is_the_same_when_it_has_crossed_the_pipe(verdict):
    assert _VERDICT.validate_json(_VERDICT.dump_json(verdict)) == verdict


def test_check_is_rejected_when_its_process_is_killed(store):
    candidate = Candidate(Processes(), store.folder / "red", None, None)
    os.kill(candidate._process.pid, signal.SIGKILL)
    assert candidate.verdict.poll(30)
    result = candidate.result()
    assert (result.fault, result.fact) == ("check", "the check ended with exit status -9")
