"""Ranges on a Ray of this machine: what one process computes, whoever is lost on the way."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from model.cluster import ranges as module
from model.cluster.ranges import RayRanges
from model.config.errors import ConfigError
from model.export import embedded as embedding
from model.export.embedded import embedded
from model.progress.range_workers import HERE, Worker
from model.progress.ranges import Range, ranges_of
from model.tree import profiles
from model.tree.best_items import best_items
from model.tree.item_scores import ItemScores
from model.tree.profiles import ProfileUsers, score_profiles
from tests.paths import ROOT


@pytest.fixture(scope="module")
def two(on_ray):
    return RayRanges(2, cores=0)


@dataclass(frozen=True)
class Mortal:
    """Work that kills its process at the first row, until it has left a file; then it says where it was done."""

    file: Path

    def __call__(self, own: Range, worker: Worker) -> tuple[int, int]:
        if own.first == 0 and not self.file.exists():
            self.file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        worker.done(len(own))
        return own.first, os.getpid()


@dataclass(frozen=True)
class Deadly:
    """Work that kills its process."""

    def __call__(self, own: Range, worker: Worker) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_two_workers_score_and_embed_ranges_as_one_does(two, learned_run, tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "ItemScores", lambda *arguments: ItemScores(*arguments, rows=30))
    monkeypatch.setattr(embedding, "ranges_of", lambda n: ranges_of(n, 30))
    reader, clicks, index, users = learned_run.reader, learned_run.clicks, learned_run.key_index, np.arange(60)

    def made(workers, folder):
        answers = best_items(ItemScores(reader, clicks, index, 30), users, clicks.histories(users), 10, "", workers)
        vectors = score_profiles(reader, ProfileUsers(clicks, index, users), 0, folder, workers)
        return vectors, embedded(reader, workers), *answers

    for one, other in zip(made(HERE, tmp_path / "one"), made(two, tmp_path / "two"), strict=True):
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()


def test_a_worker_that_is_lost_is_replaced_and_its_range_computed_again(two, tmp_path):
    told = []
    found = list(two.results(Mortal(tmp_path / "died"), ranges_of(10, 2), told.append))
    assert (tmp_path / "died").exists()
    assert [first for first, _ in found] == [0, 2, 4, 6, 8]
    assert told == [2] * 5
    processes = [process for _, process in found]
    assert os.getpid() not in processes
    assert processes[0] == processes[2] == processes[4] != processes[1] == processes[3]


def test_workers_that_are_lost_again_and_again_are_told_with_the_range(two, monkeypatch):
    monkeypatch.setattr(module, "RETRIES", 0)
    with pytest.raises(ConfigError, match="lost while it computed rows 0 to 4, and 0 in its place, most likely"):
        list(two.results(Deadly(), ranges_of(8, 4)))


def test_what_workers_need_is_read_where_it_lies(two):
    layer, ray = torch.nn.Linear(512, 512), sys.modules["ray"]
    shared = module._shared(layer)
    first, second = ray.get(shared), ray.get(shared)
    assert torch.equal(first.weight, layer.weight)
    assert first.weight.data_ptr() == second.weight.data_ptr()


def test_a_single_range_is_computed_in_this_process(two, tmp_path):
    (tmp_path / "died").touch()
    assert list(two.results(Mortal(tmp_path / "died"), ranges_of(4))) == [(0, os.getpid())]


def test_one_worker_imports_nothing_of_ray():
    modules = ("model.commands", "model.training.trainer", "model.evaluation.quality", "model.export.seal")
    program = f"import sys, {', '.join(modules)}; print(sorted(name for name in sys.modules if name.startswith('ray')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.stdout == "[]\n", done.stderr[-2000:]
