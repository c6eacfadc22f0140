"""The listing of GET /admin/bundles."""

import socket
from multiprocessing import Process

from index_store.bundle.pointer import Pointer
from service.bundles.control_channel import Release, SupervisorEnd, Try
from service.contract.admin_schemas import BundlesReply
from service.supervisor.bundle_listing import listing, serving
from service.supervisor.workers import Worker
from tests.resealed import reseal

NO_TRIALS = {"canary": None, "shadow": None, "ended": {"canary": None, "shadow": None}, "trials_problem": None}


def worker(**state):
    ours, theirs = socket.socketpair()
    theirs.close()
    return Worker(Process(), SupervisorEnd(ours), region=0, **state)


def test_bundles_and_workers_are_listed_when_one_of_each_is_not_well(tiny_bundle, tmp_path):
    sealed = reseal(tiny_bundle, tmp_path / "red", lambda writer: None)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "manifest.json").write_text("{")
    red = Release("red", tmp_path / "red", sealed.bundle_id)
    workers = [worker(serving=red, tried=Try(canary=red, share=0.5)), worker(failure="no room")]
    found = listing(tmp_path, Pointer("red", "blue"), "a problem", "green", workers)
    BundlesReply.model_validate(found | NO_TRIALS)
    assert (found["current"], found["previous"], found["problem"], found["loading"]) == (
        "red", "blue", "a problem", "green")
    red_entry, torn = found["bundles"]
    assert red_entry == {"bundle": "red", "bundle_id": sealed.bundle_id, "created_at": sealed.created_at,
                         "problem": None}
    assert (torn["bundle"], torn["bundle_id"]) == ("torn", None)
    assert "is not readable" in torn["problem"]
    assert found["workers"] == serving(workers)
    assert [entry["bundle"] for entry in found["workers"]] == ["red", None]
    assert [entry["canary"] for entry in found["workers"]] == ["red", None]
    assert [entry["problem"] for entry in found["workers"]] == [None, "no room"]


def test_nothing_is_current_when_the_pointer_cannot_be_read(tmp_path):
    found = listing(tmp_path, None, "unreadable", None, [])
    BundlesReply.model_validate(found | NO_TRIALS)
    assert (found["current"], found["previous"], found["bundles"], found["workers"]) == (None, None, [], [])
