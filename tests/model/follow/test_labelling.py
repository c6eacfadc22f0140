"""What a teacher says of the impressions that came after it: which it labels, how, and what it refuses."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from model.config.errors import ConfigError
from model.data.load import load_dataset
from model.data.tables import EVENTS, TEST_EVENTS
from model.evaluation.quality import quality
from model.follow.growing_log import GrownLog
from model.follow.labelling import labels_of
from model.follow.world_windows import WorldWindows
from model.objective.event_labels import read_event_labels
from model.runs.run import Run
from model.sources import parquet
from model.sources.truth import normalised_entropy
from tests.model.commands import model


@pytest.fixture(scope="module")
def next_day(followed_run, tmp_path_factory):
    """The log of the run with the day after it, its impressions as test events."""
    folder = tmp_path_factory.mktemp("days")
    world = followed_run.parent / "data"
    parquet.write(world, folder / "log")
    window = WorldWindows(world).next(0, 0.0, folder / "log")
    grown = GrownLog.of(folder / "log", window.window, 1_500, 7 * 86_400)
    grown.write(folder / "next", grown.older, grown.new)
    return folder / "next"


def test_it_labels_what_came_after_its_own_last_event(followed_run, next_day):
    found = labels_of(followed_run, next_day)
    last = pc.max(pq.read_table(followed_run.parent / "data" / EVENTS)["timestamp"]).as_py()
    log = pa.concat_tables([pq.read_table(next_day / name) for name in (EVENTS, TEST_EVENTS)])
    newer = log.filter(pc.greater(log["timestamp"], last))
    keys = ["user_id", "ad_id", "timestamp"]
    assert sorted(found.select(keys).to_pylist(), key=str) == sorted(newer.select(keys).to_pylist(), key=str)
    assert 0 < len(found) < len(log)


def test_its_labels_are_what_it_answers_as_served(followed_run, next_day, tolerance=1e-4):
    log = followed_run.parent / "data"
    found = labels_of(followed_run, log)
    events = load_dataset(log).test
    assert len(found) == len(events)
    p, clicks = found["click"].to_numpy().astype(np.float64), events.labels[:, 0]
    own = quality(Run.open(followed_run), 1)["ne"]["click"]
    assert normalised_entropy(p, clicks) == pytest.approx(own, rel=tolerance)


def test_a_student_learns_the_labels_that_the_command_writes(followed_run, next_day, tmp_path):
    soft = tmp_path / "soft" / "1.parquet"
    printed = model("label", "--run", followed_run, "--data", next_day, "--out", soft)
    assert printed == f"wrote {soft}: labels of {pq.read_metadata(soft).num_rows:,} impressions\n"
    log = tmp_path / "log"
    shutil.copytree(next_day, log)
    pq.write_table(pa.concat_tables([pq.read_table(log / name) for name in (EVENTS, TEST_EVENTS)]), log / EVENTS)
    (log / TEST_EVENTS).unlink()
    found = read_event_labels(tmp_path / "soft", load_dataset(log), log)
    assert np.isfinite(found.values).all(axis=1).sum() == pq.read_metadata(soft).num_rows
    model("train", "--data", log, "--from", followed_run, "--out", tmp_path / "student", "--teacher-file",
          tmp_path / "soft", "--teacher-weight", 3)
    assert Run.open(tmp_path / "student").config.teacher_weight == 3
    assert '"loss_teacher"' in (tmp_path / "student" / "log.jsonl").read_text()
    message = model("label", "--run", followed_run, "--data", next_day, "--out", soft, code=1)
    assert f"{soft} is there already" in message


@pytest.mark.filterwarnings("error")
def test_a_teacher_that_is_older_than_the_whole_log_labels_all_of_it(followed_run, next_day, tmp_path):
    shutil.copytree(next_day, tmp_path / "log")
    for name in (EVENTS, TEST_EVENTS):
        table = pq.read_table(next_day / name)
        at, later = table.schema.get_field_index("timestamp"), pc.add(table["timestamp"], 30 * 86_400)
        pq.write_table(table.set_column(at, "timestamp", later), tmp_path / "log" / name)
    found = labels_of(followed_run, tmp_path / "log")
    assert len(found) == sum(pq.read_metadata(next_day / name).num_rows for name in (EVENTS, TEST_EVENTS))
    assert np.std(found["click"].to_numpy()) > 0


def test_a_run_that_has_learned_the_whole_log_is_refused(followed_run, tmp_path):
    log = tmp_path / "log"
    shutil.copytree(followed_run.parent / "data", log, ignore=shutil.ignore_patterns("days", "truth"))
    (log / TEST_EVENTS).unlink()
    with pytest.raises(ConfigError, match=r"was trained on events up to \d+, and .* ends with \d+, so it has learned"):
        labels_of(followed_run, log)


def test_a_log_of_positives_has_no_impressions_to_label(followed_run, tmp_path):
    shutil.copytree(followed_run.parent / "data", tmp_path / "log", ignore=shutil.ignore_patterns("days", "truth"))
    spec = (tmp_path / "log" / "features.json")
    spec.write_text(spec.read_text().replace('"impressions"', '"sampled"'))
    for name in (EVENTS, TEST_EVENTS):
        table = pq.read_table(tmp_path / "log" / name)
        pq.write_table(table.filter(pc.equal(table["click"], 1)), tmp_path / "log" / name)
    with pytest.raises(ConfigError, match="is a log of positives, which has no impressions to label"):
        labels_of(followed_run, tmp_path / "log")
