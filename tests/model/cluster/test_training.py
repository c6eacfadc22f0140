"""Two workers on a Ray of this machine train what one trains, and tell what a user can mend."""

import json
from dataclasses import replace

import pytest

from model.cluster.training import Task, _cause, check_settings, count_part
from model.config.errors import ConfigError
from model.config.pairs import PairsConfig
from model.config.train import TrainConfig
from model.data.load import load_dataset
from model.data.tables import DataError
from model.training.trainer import train
from tests.model.tiny_runs import TINY

pytest.importorskip("ray", reason="the extra cluster is not installed here")
from ray.exceptions import RayTaskError
from ray.train.v2.api.exceptions import WorkerGroupError

CONFIG = replace(TINY, branching=(3, 2), batch_users=256)


def figures(folder):
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    # The nodes' loss of one batch depends on the tree, which k-means turns by rounding; an epoch's hardly does.
    return [{name: value for name, value in entry.items()
             if name != "seconds" and (name != "loss_nodes" or "seconds" in entry)} for entry in entries]


def test_two_workers_on_ray_train_the_run_of_one(on_ray, world, tmp_path, rel=1e-2):
    data, dataset, _ = world
    train(data, dataset, CONFIG, tmp_path / "alone", resume=False)
    run = on_ray(data, dataset, CONFIG, tmp_path / "shared", resume=False)
    assert run.tree.codes is not None
    ours, theirs = (figures(tmp_path / name) for name in ("alone", "shared"))
    assert [list(entry) for entry in ours] == [list(entry) for entry in theirs]
    for one, two in zip(ours, theirs, strict=True):
        for name, value in one.items():
            if name.startswith(("loss", "ne_")) and value is not None:  # undefined where labels are all the same
                assert two[name] == pytest.approx(value, rel=rel), name
    assert (sorted(path.name for path in (tmp_path / "alone").iterdir())
            == sorted(path.name for path in (tmp_path / "shared").iterdir()))


ERROR = DataError("what to mend")


@pytest.mark.parametrize("failure", [ERROR, RayTaskError("work", "a trace", ERROR)])
def test_what_workers_refuse_is_told_as_by_one(failure):
    error = WorkerGroupError("with the trace", {1: RuntimeError("connection closed"), 0: failure})
    assert str(_cause(error, error.worker_failures)) == "what to mend"
    other = WorkerGroupError("with the trace", {1: RuntimeError("connection closed")})
    assert _cause(other, other.worker_failures) is other


def test_parts_that_are_counted_apart_are_those_of_a_trainer(world, tmp_path):
    data, _, _ = world
    task = Task(data, replace(CONFIG, holdout=0.2), tmp_path, False, None)
    run = train(data, load_dataset(data), replace(task.config, epochs=1, rounds=0), tmp_path / "run", resume=False)
    assert count_part(task, None).reach.values.tobytes() == run.key_index.reach.values.tobytes()
    folds = [count_part(task, number) for number in range(2)]
    assert sum(len(fold.clicks.rows) for fold in folds) > len(run.clicks.rows)


@pytest.mark.parametrize(("config", "said"), [
    (replace(TINY, tree="joint"), "--tree joint"), (replace(TINY, teacher="runs/a"), "a teacher"),
    (TrainConfig(epochs=0, start_from="runs/a", pairs=PairsConfig()), "test-time training")])
def test_what_learns_from_whole_batches_is_refused(config, said):
    with pytest.raises(ConfigError, match=f"{said}.* learns from whole batches.*leave out --workers"):
        check_settings(config)
