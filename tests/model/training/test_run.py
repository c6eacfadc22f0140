"""Opening runs: of this version and of the ones before, and what a hold-out moves."""

import json
import shutil

import numpy as np
import pytest

from model.config import ConfigError
from model.training.checkpoint import RunFolder
from model.training.run import Run, hold_out
from model.training.trainer import Trainer
from model.tree.item_scores import ItemScores
from tests.model.runs import run_of, trainer_of
from tests.model.worlds import positives
from tests.paths import ROOT

RUNS = ROOT / "tests" / "runs"
"""Runs on `positives` by the code before the wings: their tree, progress and some scores lie beside the checkpoints."""


def old_run(name, tmp_path):
    folder = RunFolder(shutil.copytree(RUNS / name, tmp_path / name))
    return Run(folder, positives(), folder.config()[0])


@pytest.mark.parametrize("name", ["em", "joint-stack"])
def test_a_run_of_an_earlier_version_opens_with_its_scores_and_its_tree(tmp_path, name, tolerance=1e-4):
    run = old_run(name, tmp_path)
    run.load()
    run.model.eval()
    expected = json.loads((RUNS / name / "expected.json").read_text())
    assert run.tree.build(run.reader.all_items())[0].digest == expected["tree"]
    with run.reader.using_nodes(run.nodes() if run.config.stack else None):
        scores = ItemScores(run.reader, run.clicks, run.key_index)
        for user, first in expected["scores"].items():
            assert scores.of(int(user))[:len(first)].tolist() == pytest.approx(first, abs=tolerance)


@pytest.mark.parametrize("name", ["em", "joint-stack"])
def test_a_run_of_an_earlier_version_resumes(tmp_path, name):
    trainer = Trainer(old_run(name, tmp_path))
    trainer.resume()
    expected = json.loads((RUNS / name / "expected.json").read_text())
    assert [trainer.progress.epoch, trainer.progress.batch] == expected["progress"]
    steps = {float(state["step"]) for optimizer in trainer.optimizers.values()
             for state in optimizer.state_dict()["state"].values()}
    assert max(steps) == trainer.schedule.epochs * trainer.schedule.batches
    trainer.fit()
    assert trainer.run.folder.has_checkpoint


def test_opening_a_run_counts_no_co_clicks(tmp_path, monkeypatch):
    trainer_of(tmp_path)._save()

    def counted(*_):
        pytest.fail("co-clicks were counted")

    monkeypatch.setattr("model.training.run.key_index", counted)
    run = run_of(tmp_path)
    run.load()
    assert len(run.reader.all_items()) == 80


def test_a_run_without_a_tree_has_no_nodes(tmp_path):
    with pytest.raises(ConfigError, match="has no tree yet; resume the training"):
        run_of(tmp_path).nodes()


def test_an_empty_branching_is_replaced_by_the_default(tmp_path):
    run = run_of(tmp_path)
    assert Run(run.folder, positives(), type(run.config)()).config.branching == (6,)


def test_held_out_events_leave_the_train_set():
    data = positives()
    cut = hold_out(data, 0.25, seed=1)
    pairs = [set(zip(e.users.tolist(), e.items.tolist(), strict=True)) for e in (cut.train, cut.test, data.train)]
    assert pairs[0] | pairs[1] == pairs[2]
    assert not pairs[0] & pairs[1]
    assert len(pairs[1]) == pytest.approx(0.25 * len(pairs[2]), rel=0.3)
    assert np.array_equal(hold_out(data, 0.0, seed=1).train.items, data.train.items)
