"""Recorded beams: what stands in the files of a real service, when a file is closed, and what is not recorded."""

import asyncio
import json
import shutil
import time
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from prometheus_client import REGISTRY

from index_store.bundle.bundle import Bundle
from index_store.features.ragged import Ragged
from index_store.search.beam_search import BeamSearch
from index_store.search.trace import kept_nodes
from index_store.tree.recorded_beams import RecordedBeams
from model.tree.recorded_beams import read_beams
from service.contract.parsing import UNLIMITED, parse_request, to_query
from service.retrieval.retriever import Retriever
from service.sampling.beam_recorder import BeamRecorder
from service.telemetry import request_log
from tests.service.bundle_store import BundleStore
from tests.service.commands import service
from tests.service.service_process import ServiceProcess
from tests.tiny_bundle import SPEC

WAIT_SECONDS = 30
USERS = [f"user-{number:02d}" for number in range(8)]
INLINE = {"age": 31, "interests": ["interest-1", "interest-7"], "history": ["ad-0005", "ad-0102"]}


def recording(folder):
    return {"RETRIEVAL_BEAM_SAMPLE_RATE": "1", "RETRIEVAL_BEAM_FOLDER": str(folder)}


def wait_until(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def recorded(process, count):
    """Waits until so many beams are recorded."""
    process.wait_until(lambda: process.metrics()["retrieval_beams_recorded_total"] == count)


def counted(what):
    return REGISTRY.get_sample_value(f"retrieval_beams_{what}_total")


@pytest.fixture
def retriever(tiny_bundle):
    opened = Retriever(Bundle.open(tiny_bundle))
    yield opened
    opened.close()


def asked(retriever, **body):
    """A query and its answer."""
    query = to_query(parse_request({"user_id": "user-01", **body}), retriever.bundle.manifest, UNLIMITED)
    return query, asyncio.run(retriever.retrieve(query))


def expected(retriever, **body):
    """The user's features and history, and the nodes that a beam search of this test keeps over all ads."""
    query = to_query(parse_request(body), retriever.bundle.manifest, UNLIMITED)
    user, tree = retriever.encode(query), retriever.bundle.content.tree
    found = BeamSearch(tree, retriever.scorer).search(
        retriever.query(user), top_k=query.top_k, beam_width=query.beam_width or (3, 6),
        task_weights=query.task_weights, trace=True)
    return RecordedBeams(user.features, Ragged.of([user.history]), kept_nodes(tree, found.steps))


def rows(beams):
    """Beams as plain lists, a row a user, in an order that does not depend on when they were recorded."""
    return sorted([beams.features.dense[row].tolist(), beams.features.categorical[row].tolist(),
                   [field.row(row).tolist() for field in beams.features.multi], beams.history.row(row).tolist(),
                   *(kept.row(row).tolist() for kept in beams.kept)] for row in range(len(beams)))


def test_files_hold_the_users_and_what_the_beam_keeps_for_them_when_a_service_has_answered(tiny_bundle, retriever,
                                                                                           tmp_path):
    bodies = [*({"user_id": user} for user in USERS),
              {"user_id": "user-08", "beam_width": 2}, {"user_id": "user-09", "beam_width": [4, 5], "top_k": 3},
              {"user_id": "user-10", "targeting": {"field": "category", "in": ["c1"]}, "exclude_ad_ids": ["ad-0001"]},
              {"user_id": "guest", "user_features": INLINE}, {"user_id": "nobody"},
              {"user_id": "user-05", "task_weights": {"click": 2}}]
    with ServiceProcess(tiny_bundle, **recording(tmp_path / "beams")) as process:
        process.retrieve(user_id="user-11", exact=True)  # this and what follows says little of interest
        process.retrieve(user_id="user-11", task_weights={"click": 1, "convert": 1})
        process.retrieve(user_id="user-11", task_weights={"convert": 1})
        assert process.http.post("/explain", json={"user_id": "user-11", "ad_id": "ad-0001"}).status_code == 200
        for body in bodies:
            process.retrieve(**body)
        recorded(process, len(bodies))
        assert not list((tmp_path / "beams").glob("*.parquet"))
        process.stop()
        assert not [event for event in process.events if event["event"] == "beam_recorder_failed"]
    (path,) = (tmp_path / "beams").iterdir()
    tree = retriever.bundle.content.tree
    beams = read_beams([path], tree, SPEC)
    assert rows(beams) == rows(RecordedBeams.joined([expected(retriever, **body) for body in bodies]))
    assert len(beams.kept[0].values) == 3 * 12 + 2 + 4  # where all four nodes fit, they are kept unscored
    metadata = pq.read_schema(path).metadata
    assert metadata[b"bundle_id"].decode() == retriever.bundle.bundle_id
    assert b"user-0" not in path.read_bytes()
    assert b"guest" not in path.read_bytes()


def test_nothing_is_written_when_recording_is_not_asked_for(tiny_bundle, tmp_path):
    with ServiceProcess(tiny_bundle, RETRIEVAL_BEAM_FOLDER=str(tmp_path / "beams")) as process:
        process.retrieve(user_id="user-01")
        assert process.metrics()["retrieval_beams_recorded_total"] == 0
    assert not (tmp_path / "beams").exists()


def test_answers_that_a_deadline_narrowed_are_not_recorded(retriever, tmp_path):
    recorder = BeamRecorder(1.0, tmp_path)
    query, answer = asked(retriever)
    recorder.offer(retriever, query, replace(answer, found=replace(answer.found, coverage=0.5)))
    assert recorder._waiting.empty()
    recorder.close()
    assert not list(tmp_path.iterdir())


def test_a_file_is_closed_when_the_bundle_is_swapped(tmp_path):
    store = BundleStore.write(tmp_path / "bundles")
    with ServiceProcess(store.folder, **recording(tmp_path / "beams")) as process:
        process.retrieve(user_id="user-01")
        process.retrieve(user_id="user-02")
        recorded(process, 2)
        process.load("green")
        process.retrieve(user_id="user-03")
        recorded(process, 3)
        (first,) = (tmp_path / "beams").glob("*.parquet")
    (second,) = set((tmp_path / "beams").glob("*.parquet")) - {first}
    for path, name, users in ((first, "red", 2), (second, "green", 1)):
        assert store.ids[name] in path.name
        tree = Bundle.open(store.folder / name).content.tree
        assert len(read_beams([path], tree, SPEC)) == users


def test_a_file_is_closed_when_it_is_full_and_another_when_it_is_old(retriever, tmp_path):
    query, answer = asked(retriever)
    recorder = BeamRecorder(1.0, tmp_path, file_rows=2)
    for _ in range(5):
        recorder.offer(retriever, query, answer)
    wait_until(lambda: len(list(tmp_path.glob("*.parquet"))) == 2)
    recorder.close()
    paths = list(tmp_path.glob("*.parquet"))
    assert sorted(pq.read_metadata(path).num_rows for path in paths) in ([1, 2, 2], [2, 2])
    assert len(read_beams(paths, retriever.bundle.content.tree, SPEC)) >= 4
    aging = BeamRecorder(1.0, tmp_path, file_seconds=0.1)
    aging.offer(retriever, query, answer)
    wait_until(lambda: len(list(tmp_path.glob("*.parquet"))) == len(paths) + 1)
    aging.close()
    assert len(list(tmp_path.iterdir())) == len(paths) + 1


def test_samples_are_dropped_and_counted_when_too_many_wait(retriever, tmp_path):
    dropped, done = counted("dropped"), counted("recorded")
    query, answer = asked(retriever)
    recorder = BeamRecorder(1.0, tmp_path)
    for _ in range(500):
        recorder.offer(retriever, query, answer)
    assert counted("dropped") > dropped
    wait_until(lambda: recorder._waiting.empty())
    recorder.close()
    assert 500 - 1 <= counted("dropped") - dropped + counted("recorded") - done <= 500


@pytest.mark.parametrize("below", ["", "beams"])
def test_service_refuses_to_start_when_the_folder_cannot_be_written(tiny_bundle, tmp_path, below):
    (tmp_path / "file").write_text("in the way")
    done = service(tiny_bundle, **recording(tmp_path / "file" / below))
    assert done.returncode == 1
    assert f"error: RETRIEVAL_BEAM_FOLDER {tmp_path / 'file'}" in done.stderr
    assert "cannot be written" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("rate", "folder", "said"), [
    ("0.5", "", "RETRIEVAL_BEAM_SAMPLE_RATE is 0.5, so the folder"), ("2", "/tmp", "RETRIEVAL_BEAM_SAMPLE_RATE '2'")])
def test_service_refuses_to_start_when_a_setting_is_missing_or_unfit(tiny_bundle, rate, folder, said):
    done = service(tiny_bundle, RETRIEVAL_BEAM_SAMPLE_RATE=rate, RETRIEVAL_BEAM_FOLDER=folder)
    assert done.returncode == 2
    assert said in done.stderr


def test_service_answers_on_and_counts_what_is_lost_when_the_folder_goes_away(tiny_bundle, tmp_path):
    with ServiceProcess(tiny_bundle, **recording(tmp_path / "beams")) as process:
        process.retrieve(user_id="user-01")
        recorded(process, 1)
        shutil.rmtree(tmp_path / "beams")
        (tmp_path / "beams").write_text("in the way")
        process.retrieve(user_id="user-02")
        recorded(process, 2)
        assert process.stop() == 0
    (event,) = [event for event in process.events if event["event"] == "beam_recorder_failed"]
    assert event["beams"] == 2
    assert event["reason"] == "Not a directory"
    assert (tmp_path / "beams").read_text() == "in the way"


def test_recorder_goes_on_and_counts_when_a_disk_is_full_or_a_sample_fails(retriever, tmp_path, capfd):
    failed, gone = counted("failed"), tmp_path / "gone"
    query, answer = asked(retriever)
    recorder = BeamRecorder(1.0, gone, file_rows=1)
    recorder.offer(retriever, query, answer)
    wait_until(lambda: counted("failed") == failed + 1)
    gone.mkdir()
    recorder.offer(retriever, replace(query, user_features={"secret": "value"}), answer)
    wait_until(lambda: counted("failed") == failed + 2)
    recorder.offer(retriever, query, answer)
    wait_until(lambda: list(gone.glob("*.parquet")))
    recorder.close()
    request_log.flush()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [line["reason"] for line in lines] == ["No such file or directory", "FeatureError"]
    assert [line["beams"] for line in lines] == [1, 1]
    assert "secret" not in str(lines)
