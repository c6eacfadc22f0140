"""Two workers learn what one learns: the same gradients but for rounding, the same parameters on both to the bit."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model.config.train import TrainConfig
from model.runs.checkpoint import Progress
from model.runs.workers import ALONE, Workers
from model.training.trainer import Trainer
from tests.model.range_workers import Recording
from tests.model.runs.together import LOGS, together, train
from tests.model.tiny_runs import run_of, weights_of


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of the runs that one worker trained, and two."""
    alone, shared = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("shared")
    for name in LOGS:
        train(alone, name)
    together(shared, 2)
    return alone, shared


@pytest.mark.parametrize("name", LOGS)
def test_workers_have_the_same_parameters_and_gradients_to_the_bit_without_being_aligned(runs, name):
    for what in ("weights", "gradients"):
        first, second = (load_file(runs[1] / f"{name}-{what}-{rank}.safetensors") for rank in range(2))
        assert list(first) == list(second)
        for at, tensor in first.items():
            assert torch.equal(tensor, second[at]), (what, at)


@pytest.mark.parametrize("name", LOGS)
def test_gradients_of_two_workers_are_those_of_one_but_for_rounding(runs, name, atol=1e-6):
    alone, shared = (load_file(folder / f"{name}-gradients-0.safetensors") for folder in runs)
    assert list(alone) == list(shared)
    assert any(tensor.abs().max() > 100 * atol for tensor in alone.values())
    for at, tensor in alone.items():
        assert torch.allclose(tensor, shared[at], rtol=1e-4, atol=atol), at


@pytest.mark.parametrize("name", LOGS)
def test_two_workers_report_the_losses_and_figures_of_one(runs, name, rel=1e-3):
    alone, shared = ([json.loads(line) for line in (folder / name / "log.jsonl").read_text().splitlines()]
                     for folder in runs)
    assert [list(entry) for entry in alone] == [list(entry) for entry in shared]
    for ours, theirs in zip(alone, shared, strict=True):
        for figure, value in ours.items():
            if figure.startswith(("loss", "ne_", "train_")):
                assert theirs[figure] == pytest.approx(value, rel=rel), (figure, ours)


@pytest.mark.parametrize("name", LOGS)
def test_two_workers_leave_the_files_of_one(runs, name):
    alone, shared = (sorted(path.name for path in (folder / name).iterdir()) for folder in runs)
    assert alone == shared


@pytest.mark.parametrize("groups", [0, 1, 5, 16])
def test_parts_of_a_batch_are_disjoint_and_whole(groups):
    parts = [np.arange(groups)[Workers(rank, 3).part(groups)] for rank in range(3)]
    assert np.array_equal(np.concatenate(parts), np.arange(groups))


def test_one_worker_exchanges_nothing_and_needs_no_process_group():
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    ALONE.add_up([weight], [])
    ALONE.align([torch.nn.Linear(1, 1)])
    assert ALONE.handed("a value") == "a value"
    assert torch.equal(weight.grad, torch.ones(2))


def test_only_the_first_worker_writes_the_folder_of_the_run(tmp_path):
    other = Workers(1, 2).folder(tmp_path / "run")
    other.create(TrainConfig(), tmp_path)
    other.log({"epoch": 1})
    other.save({}, {}, None, Progress())
    assert not (tmp_path / "run").exists()
    Workers(0, 2).folder(tmp_path / "run").create(TrainConfig(), tmp_path)
    assert other.config() == (TrainConfig(), tmp_path)


def test_ranges_of_a_training_are_computed_by_whoever_is_given(tmp_path, tiny_run):
    ranges = Recording()
    trainer = Trainer(run_of(tmp_path), workers=Workers(ranges=ranges))
    trainer.fit()
    assert ranges.asked == ["_ScoresOfRange", "_BestOfRange"]  # profiles, then answers that teach the nodes
    expected = weights_of(tiny_run)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(trainer.run).items())
