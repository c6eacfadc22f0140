"""Decisions about the pointer and admin calls, with the worker's end of each channel in the test's hands."""

import json
import shutil
import socket
from multiprocessing import Process

import pytest
from prometheus_client import REGISTRY

from index_store.bundle import pointer
from index_store.bundle.pointer import Pointer
from service.bundles.control_channel import Call, Failed, Inbox, Release, Reply, Serve, Serving, SupervisorEnd
from service.settings import Settings
from service.supervisor.processes import Processes
from service.supervisor.promotion import Promotion
from service.supervisor.workers import Worker, Workers
from service.telemetry.request_log import flush
from tests.service.bundle_store import BundleStore

PROCESSES = Processes()


@pytest.fixture(scope="module")
def written_once(tmp_path_factory):
    return BundleStore.write(tmp_path_factory.mktemp("store") / "bundles")


@pytest.fixture
def store(written_once, tmp_path):
    return written_once.copy(tmp_path / "bundles")


class OneWorker(Workers):
    """One worker that is not started; without the shared memory of the metrics, which belongs to a whole process."""

    def __init__(self, worker, settings):
        self._all, self._settings = [worker], settings


class Replica:
    """A Promotion over one worker whose process is the test."""

    def __init__(self, store, single=False):
        ours, self.theirs = socket.socketpair()
        settings = Settings(workers=1)
        self.worker, self._inbox = Worker(Process(), SupervisorEnd(ours), region=0), Inbox()
        release = Release("red", store.folder / "red", store.ids["red"])
        self.promotion = Promotion(None if single else store.folder, release, OneWorker(self.worker, settings),
                                   PROCESSES, settings)
        self.hear(Serving(release))

    def hear(self, message):
        self.promotion.heard(self.worker, message)
        self.promotion.tick()

    def decide(self):
        """Waits for the verdict of the check under way, and follows from it."""
        assert self.promotion.sources[0].poll(60)
        self.promotion.tick()

    def sent(self):
        """Messages to the worker."""
        self.theirs.setblocking(False)
        try:
            return list(self._inbox.take(self.theirs.recv(1 << 20)))
        except BlockingIOError:
            return []

    def refused(self, call):
        self.hear(call)
        (reply,) = self.sent()
        assert isinstance(reply, Reply)
        return reply.outcome


@pytest.fixture
def replica(store):
    made = Replica(store)
    yield made
    made.promotion.end()


@pytest.mark.parametrize(("call", "error_type"), [
    (Call(1, "load", "purple"), "unknown_bundle"), (Call(1, "load", "../red"), "invalid_value"),
    (Call(1, "load", ""), "invalid_value"), (Call(1, "rollback"), "no_previous_bundle")])
def test_call_is_refused_when_there_is_no_such_bundle(replica, call, error_type):
    assert replica.refused(call).error_type == error_type


def test_refusal_tells_fact_and_remedy_apart_when_a_bundle_is_broken(store, replica):
    store.add_broken("torn", "tree/rows.npy", "truncated")
    refusal = replica.refused(Call(1, "load", "torn"))
    assert refusal.error_type == "bundle_refused"
    assert refusal.message.startswith(f"bundle {store.folder / 'torn'}: tree/rows.npy: ")
    assert ";" not in refusal.message
    assert refusal.remedy == ("restore the bundle from its source or export it again; "
                              f"bundle red ({store.ids['red']}) keeps serving")
    assert store.named() == Pointer("red")


def test_call_is_answered_at_once_when_the_bundle_serves_already(store, replica):
    replica.hear(Call(7, "load", "red"))
    (reply,) = replica.sent()
    assert (reply.number, reply.outcome["bundle"], reply.outcome["bundle_id"]) == (7, "red", store.ids["red"])


def test_workers_are_told_and_callers_learn_what_came_of_it_when_bundles_are_promoted(store, replica):
    replica.hear(Call(7, "load", "green", force=True))
    assert replica.refused(Call(8, "load", "blue")).error_type == "load_in_progress"
    replica.decide()
    green = Release("green", store.folder / "green", store.ids["green"])
    assert replica.sent() == [Serve(green)]
    assert store.named() == Pointer("green", "red")
    replica.hear(Serving(green))
    (reply,) = replica.sent()
    assert (reply.number, reply.outcome["previous"]) == (7, "red")
    replica.hear(Call(8, "rollback"))  # which needs no check
    (told,) = replica.sent()
    assert told.release.name == "red"
    replica.hear(Failed(told.release, "no memory"))
    (reply,) = replica.sent()
    assert reply.outcome.error_type == "load_incomplete"
    assert "no memory" in reply.outcome.message


@pytest.mark.parametrize("action", ["list", "load", "rollback"])
def test_calls_are_refused_when_a_single_bundle_is_served(store, action):
    refusal = Replica(store, single=True).refused(Call(1, action, "red"))
    assert refusal.error_type == "no_bundle_store"
    assert "folder of bundles" in refusal.remedy


def refused(fault):
    return REGISTRY.get_sample_value("retrieval_bundle_refused_total", {"reason": fault})


def mismatch():
    return REGISTRY.get_sample_value("retrieval_bundle_pointer_mismatch")


@pytest.mark.parametrize(("fault", "content"), [("broken", "bad"), ("golden", "wrong"), ("pointer", None)])
def test_pointer_is_not_followed_and_refused_once_when_it_names_no_good_bundle(store, replica, fault, content, capfd):
    before = refused(fault)
    if content is None:
        (store.folder / pointer.POINTER).write_text("green")
    else:
        store.add_broken("bad", "tree/rows.npy", "truncated")
        store.add_wrong("wrong")
        store.point_to(content)
    replica.promotion.tick()
    if fault == "golden":
        replica.decide()
    for _ in range(3):
        replica.promotion.tick()
    assert refused(fault) == before + 1
    assert mismatch() == 1
    flush()
    (event,) = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (event["event"], event["fault"]) == ("bundle_refused", fault)
    replica.hear(Call(7, "list"))
    (listed,) = replica.sent()  # and the worker was told nothing
    assert listed.outcome["problem"] == event["reason"]
    green = Release("green", store.folder / "green", store.ids["green"])
    pointer.replace(store.folder, Pointer("green"), pointer.read_if_any(store.folder))
    replica.promotion.tick()
    replica.decide()
    assert replica.sent() == [Serve(green)]
    replica.hear(Serving(green))
    assert mismatch() == 0


def test_bundle_is_taken_when_it_was_mended_and_promoted_again(store, replica):
    store.add_broken("bad", "tree/rows.npy", "truncated")
    store.point_to("bad")
    replica.promotion.tick()
    shutil.rmtree(store.folder / "bad")
    shutil.copytree(store.folder / "blue", store.folder / "bad")
    store.point_to("bad")
    replica.promotion.tick()
    replica.decide()
    assert replica.sent() == [Serve(Release("bad", store.folder / "bad", store.ids["blue"]))]


def test_call_is_given_up_when_the_pointer_is_moved_meanwhile(store, replica):
    replica.hear(Call(7, "load", "green", force=True))
    pointer.replace(store.folder, Pointer("blue", "red"), Pointer("red"))
    replica.promotion.tick()
    (reply,) = replica.sent()
    assert reply.outcome.error_type == "pointer_changed"
    assert "the pointer says blue since then" in reply.outcome.message
    replica.decide()
    assert replica.sent() == [Serve(Release("blue", store.folder / "blue", store.ids["blue"]))]
    assert store.named() == Pointer("blue", "red")


def test_caller_is_answered_when_the_service_ends(replica):
    replica.hear(Call(7, "load", "green", force=True))
    replica.promotion.end()
    (reply,) = replica.sent()
    assert (reply.number, reply.outcome.error_type) == (7, "draining")
    assert replica.promotion.sources == []


def test_reason_is_listed_when_the_pointer_cannot_be_read(store, replica):
    (store.folder / pointer.POINTER).write_text("green")
    replica.promotion.tick()
    replica.hear(Call(7, "list"))
    (reply,) = replica.sent()
    assert reply.outcome["current"] is None
    assert str(store.folder / pointer.POINTER) in reply.outcome["problem"]
