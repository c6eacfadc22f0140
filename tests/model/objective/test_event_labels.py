"""A teacher's labels of a log's own impressions: which event gets which, what is told, and what they teach."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.config.errors import ConfigError
from model.data.load import load_dataset
from model.data.tables import DataError
from model.objective.distill import open_teacher
from model.objective.event_labels import EventLabels, read_event_labels, time_text
from model.objective.losses import impression_loss
from model.objective.objective import Objective
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.training.trainer import Trainer
from tests.model.tiny_runs import STACK, TINY, trained_run, weights_of
from tests.model.worlds import impressions

NAN = np.float32("nan")


def labels_of(path, users, ads, times, click, buy=None, clock=None):
    buy = [0.5] * len(click) if buy is None else buy
    pq.write_table(pa.table({"user_id": users, "ad_id": ads, "timestamp": pa.array(times, pa.int64()).cast(
        clock or pa.int64()), "click": pa.array(click, pa.float32()), "buy": pa.array(buy, pa.float32())}), path)
    return path


def read(tiny, folder, path):
    data = tiny.save(folder / "log")
    dataset = load_dataset(data)
    events = dataset.train
    found = read_event_labels(path, dataset, data)
    ids = [(dataset.user_ids[u].decode(), dataset.encoder.item_ids[a].decode(), int(t))
           for u, a, t in zip(events.users, events.items, events.timestamps, strict=True)]
    return dict(zip(ids, found.values.tolist(), strict=True))


def test_each_event_gets_the_label_of_its_user_ad_and_time(tiny, tmp_path, capsys):
    path = labels_of(tmp_path / "soft.parquet", ["u10", "u10", "u10", "gone", "u2"], ["a", "d", "b", "a", "ended"],
                     [3, 3, 8, 3, 1], [0.25, 0.75, 0.5, 0.125, 0.125], [0.5, 1.0, 0.0, 0.0, 0.0])
    found = read(tiny, tmp_path, path)
    assert found.pop(("u10", "a", 3)) == [0.25, 0.5]
    assert found.pop(("u10", "d", 3)) == [0.75, 1.0]
    assert len(found) == 3
    assert np.isnan(list(found.values())).all(), "the label of another time, user or ad is none"
    assert "2 of 5 events have a label of the teacher" in capsys.readouterr().err


def test_a_label_for_every_event_is_nothing_to_tell(tiny, tmp_path, capsys):
    events = tiny.tables["events"]
    path = labels_of(tmp_path / "soft.parquet", *(events[name].to_pylist() for name in ("user_id", "ad_id")),
                     events["timestamp"].to_pylist(), [0.1, 0.2, 0.3, 0.4, 0.5])
    assert read(tiny, tmp_path, path)["u10", "b", 9][0] == pytest.approx(0.2)
    assert capsys.readouterr().err == ""


def test_a_folder_has_labels_of_several_days_and_the_first_of_two_counts(tiny, tmp_path):
    (tmp_path / "soft").mkdir()
    labels_of(tmp_path / "soft" / "1.parquet", ["u2", "u10"], ["c", "a"], [1, 3], [0.25, 0.5])
    labels_of(tmp_path / "soft" / "2.parquet", ["u10", "u10"], ["a", "b"], [3, 9], [1.0, 0.75])
    found = read(tiny, tmp_path, tmp_path / "soft")
    assert [found[key][0] for key in (("u2", "c", 1), ("u10", "a", 3), ("u10", "b", 9))] == [0.25, 0.5, 0.75]


def test_times_of_another_unit_are_the_same_times(tiny, tmp_path):
    tiny.change("events", "timestamp", tiny.tables["events"]["timestamp"].cast(pa.timestamp("ms")))
    path = labels_of(tmp_path / "soft.parquet", ["u10", "u2"], ["b", "c"], [9_000, 1_001], [0.25, 0.5],
                     clock=pa.timestamp("us"))
    found = read(tiny, tmp_path, path)
    assert found["u10", "b", 9][0] == 0.25
    assert np.isnan(found["u2", "c", 1][0]), "a microsecond later it is another impression"


def test_labels_that_are_older_than_the_log_are_refused_with_both_dates(tiny, tmp_path):
    day = 86_400
    tiny.change("events", "timestamp", pa.array([day * at for at in (5, 9, 3, 4, 3)]).cast(pa.timestamp("s")))
    path = labels_of(tmp_path / "soft.parquet", ["u10"], ["b"], [day * 2], [0.25], clock=pa.timestamp("s"))
    with pytest.raises(DataError, match=r"labels none of the train events of .*: it reaches from "
                                        r"1970-01-03T00:00:00 to 1970-01-03T00:00:00, the log from "
                                        r"1970-01-04T00:00:00 to 1970-01-10T00:00:00"):
        read(tiny, tmp_path, path)


def test_numbers_and_dates_cannot_be_compared(tiny, tmp_path):
    path = labels_of(tmp_path / "soft.parquet", ["u10"], ["b"], [9], [0.25], clock=pa.timestamp("s"))
    with pytest.raises(DataError, match=r"column 'timestamp' holds timestamps without a time zone, but .* integers"):
        read(tiny, tmp_path, path)


def test_a_log_of_positives_has_no_impressions_to_label(tiny, tmp_path):
    dataset = load_dataset(tiny.save(tmp_path / "log"))
    dataset = replace(dataset, spec=replace(dataset.spec, negatives="sampled"))
    path = labels_of(tmp_path / "soft.parquet", ["u10"], ["b"], [9], [0.25])
    with pytest.raises(ConfigError, match=r"labels impressions, but .* is a log of positives"):
        read_event_labels(path, dataset, tmp_path / "log")


def test_the_loss_is_that_of_labelled_events_by_the_number_of_all(tolerance=1e-6):
    labels = EventLabels(np.array([[0.7, 0.2], [NAN, NAN], [0.1, 0.9]], np.float32))
    logits, weights = torch.tensor([[0.5, -1.0], [3.0, 3.0]]), torch.tensor([1.0, 2.0])
    own = impression_loss(logits[:1], torch.tensor([[0.7, 0.2]]), weights)
    assert float(labels.loss(logits, np.array([0, 1]), weights)) == pytest.approx(float(own) / 2, abs=tolerance)
    assert float(labels.loss(logits, np.array([1, 1]), weights)) == 0


def test_the_main_head_learns_the_mean_of_both_labels_where_there_are_two():
    labels = EventLabels(np.array([[0.5, 0.25], [NAN, NAN]], np.float32))
    true = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert labels.mixed(true, np.array([0, 1])).tolist() == [[0.75, 0.125], [1.0, 0.0]]


def test_a_time_is_told_as_a_date_where_the_log_has_dates():
    assert time_text(86_400_000, pa.timestamp("ms")) == "1970-01-02T00:00:00"
    assert time_text(86_400_000, pa.int64()) == "86400000"


def student(folder, taught, **changes):
    """A student of a teacher whose labels of the events are all those of `taught`."""
    data = impressions()
    config = replace(TINY, epochs=2, rounds=0, teacher_file="soft.parquet", **changes)
    RunFolder(folder).create(config, folder)
    trainer = Trainer(Run(RunFolder(folder), data, config))
    trainer.objective.teacher = EventLabels(np.full(data.train.labels.shape, taught, np.float32))
    return trainer


def fitted(trainer):
    for epoch in range(trainer.schedule.epochs):
        trainer._epoch(epoch)
    return trainer


def test_the_main_head_learns_the_truth_and_the_auxiliary_head_the_teacher(tmp_path, least=0.8):
    trainer = fitted(student(tmp_path / "run", least, learning_rate=0.01))
    run, groups = trainer.run, np.arange(40)
    run.model.eval()
    rng = np.random.default_rng(0)
    batch = trainer.objective.prepare(groups, trainer.folds[0], rng)
    with torch.no_grad():
        users = run.reader.embed(batch.users)
        pairs = run.reader.pairs(users, batch.owners, batch.rows, run.reader.items(batch.rows), None)
        main, auxiliary = pairs.score_both(run.model, torch.from_numpy(batch.features))
    labels = trainer.objective.events.labels[batch.events]
    assert torch.sigmoid(auxiliary).mean() == pytest.approx(least, abs=0.05)
    assert torch.sigmoid(main).mean(0).numpy() == pytest.approx(labels.mean(0), abs=0.15)


def test_the_teachers_weight_scales_its_gradient_into_what_the_heads_share(tmp_path):
    gradients = []
    for weight in (1.0, 3.0):
        trainer = student(tmp_path / str(weight), 0.8, teacher_weight=weight)
        trainer.run.model.eval()
        objective: Objective = trainer.objective
        batch = objective.prepare(np.arange(12), trainer.folds[0], np.random.default_rng(0))
        found = objective.loss(batch, None, 0.0, np.random.default_rng(0))
        gradients.append(torch.autograd.grad(found.total, trainer.run.model.layer(-1).user_tower.layers[-1].weight)[0])
        parts = {name: float(part.detach()) for name, part in found.parts.items()}
        assert float(found.total.detach()) == pytest.approx(parts["items"] + weight * parts["teacher"])
    without = student(tmp_path / "without", NAN)
    without.run.model.eval()
    batch = without.objective.prepare(np.arange(12), without.folds[0], np.random.default_rng(0))
    total = without.objective.loss(batch, None, 0.0, np.random.default_rng(0)).total
    own = torch.autograd.grad(total, without.run.model.layer(-1).user_tower.layers[-1].weight)[0]
    torch.testing.assert_close(gradients[1] - own, 3 * (gradients[0] - own), rtol=1e-3, atol=1e-7)


def test_the_layers_of_a_stack_learn_the_labels_of_their_own_part_of_the_log(tmp_path):
    data = impressions()
    log, all_events = tmp_path / "log", data.train
    log.mkdir()
    (log / "features.json").write_text(json.dumps(data.spec.to_json()))
    keys = {"user_id": data.user_ids[all_events.users].astype(str),
            "ad_id": data.encoder.item_ids[all_events.items].astype(str), "timestamp": all_events.timestamps}
    labels = {task.name: all_events.labels[:, at] for at, task in enumerate(data.spec.tasks)}
    pq.write_table(pa.table({**keys, **labels}), log / "events.parquet")
    soft, taught = tmp_path / "soft.parquet", np.arange(len(all_events)) / len(all_events)
    pq.write_table(pa.table({**keys, **dict.fromkeys(labels, taught)}), soft)
    config = replace(STACK, lower_share=0.7, teacher_file=str(soft))
    RunFolder(tmp_path / "run").create(config, log)
    trainer = Trainer(Run(RunFolder(tmp_path / "run"), data, config))
    own = trainer.objective.events
    found = open_teacher(config, log, trainer.run.reader, trainer.objective.sampler, own)
    assert 0 < len(own) < len(all_events)
    np.testing.assert_allclose(found.values[:, 0] * len(all_events), own.timestamps, atol=1e-3)


def test_a_run_without_a_teacher_is_the_same_whatever_its_weight(tmp_path):
    one, other = (trained_run(tmp_path / str(weight), replace(TINY, teacher_weight=weight), impressions())
                  for weight in (1.0, 3.0))
    for (name, tensor), found in zip(weights_of(one).items(), weights_of(other).values(), strict=True):
        assert torch.equal(tensor, found), name


def test_a_control_of_the_auxiliary_head_teaches_the_main_one(tmp_path):
    trainer = student(tmp_path / "run", 1.0, teacher_head="main")
    assert len(trainer.run.model.layer(-1).over_arch.bias) == 2, "no head beside that of the two tasks"
    batch = trainer.objective.prepare(np.arange(12), trainer.folds[0], np.random.default_rng(0))
    found = trainer.objective.loss(batch, None, 0.0, np.random.default_rng(0))
    assert set(found.parts) == {"items"}
    np.testing.assert_array_equal(found.scored[1], trainer.objective.events.labels[batch.events])
    logits, mixed = found.scored[0], (found.scored[1] + 1) / 2
    assert float(found.parts["items"].detach()) == pytest.approx(
        float(impression_loss(logits, mixed, trainer.objective.task_weights)), rel=1e-5)
