"""Teaching of nodes: what changes by it and what stays, and that a narrow beam finds more afterwards."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.runs.checkpoint import Progress
from model.training import node_teaching
from model.training.node_teaching import teach_nodes
from tests.model.tiny_runs import TINY, trained_run, trainer_of, weights_of

NODES = ("node_layers.", "level_offsets")


@pytest.fixture(scope="module")
def untaught(tmp_path_factory):
    """A run that is trained but for this stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("model.training.trainer.teach_nodes", lambda *_: None)
        return trained_run(tmp_path_factory.mktemp("untaught"))


@pytest.fixture
def run(untaught):
    """The same, which gets its weights back after a test."""
    weights = weights_of(untaught)
    yield untaught
    untaught.model.load_state_dict(weights)


def cross_entropy(run, seed=0):
    """Of all users' answers, over all nodes of each level."""
    users = np.flatnonzero(np.diff(run.clicks.indptr))
    histories = run.clicks.histories(users)
    answers = node_teaching._answers(run, users, histories)
    nodes = node_teaching.FixedTreeReader(run.reader, run.tree, run.key_index, "maximum")
    with torch.no_grad():
        asked = run.reader.users(run.dataset.users.take(users), histories, run.key_index)
        return float(sum(node_teaching._loss(nodes, asked, level, answers, np.random.default_rng(seed))
                         for level in range(1, nodes.tree.depth)))


def test_nodes_find_more_of_the_answers_and_nothing_else_changes(run, monkeypatch):
    monkeypatch.setattr(node_teaching, "LEARNING_RATE", 2e-2)  # a tiny world has few batches
    before, loss = weights_of(run), cross_entropy(run)
    teach_nodes(run)
    assert cross_entropy(run) < 0.95 * loss
    for name, value in weights_of(run).items():
        assert torch.equal(value, before[name]) != name.startswith(NODES) or name.endswith(("mean", "deviation")), name


def test_answers_are_the_best_items_without_the_own_history(run, monkeypatch):
    monkeypatch.setattr(node_teaching, "TOP", 5)
    users = np.flatnonzero(np.diff(run.clicks.indptr))[:7]
    histories = run.clicks.histories(users)
    answers = node_teaching._answers(run, users, histories)
    with torch.no_grad():
        asked = run.reader.users(run.dataset.users.take(users), histories, run.key_index)
        rows = np.arange(len(run.dataset.items))
        scores = run.reader.score_items(asked, rows, run.reader.items(rows))[..., 0].numpy()
    for place, own in enumerate(scores):
        own[histories.row(place)] = -np.inf
        assert set(answers[place]) == set(np.argsort(-own)[:5])


@pytest.mark.parametrize("settings", [{"tree": "posthoc"}, {"rounds": 0},
                                      {"model": replace(TINY.model, over_arch="dot")}])
def test_controls_trials_and_two_towers_are_not_taught(tmp_path, settings):
    trainer = trainer_of(tmp_path, replace(TINY, **settings))
    trainer.fit()
    assert "nodes_taught_by" not in (tmp_path / "log.jsonl").read_text()


def test_the_stage_is_done_once_however_often_a_run_is_resumed(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.fit()
    assert trainer.progress == Progress(2, 1)
    after = weights_of(trainer.run)
    again = trainer_of(tmp_path)
    again.resume()
    again.fit()
    assert (tmp_path / "log.jsonl").read_text().count("nodes_taught_by") == 1
    assert all(torch.equal(value, after[name]) for name, value in weights_of(again.run).items())


def test_an_interruption_of_the_stage_loses_the_stage_alone(tiny_run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("model.training.trainer.teach_nodes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        cut = trainer_of(tmp_path / "cut")
        with pytest.raises(KeyboardInterrupt):
            cut.fit()
    resumed = trainer_of(tmp_path / "cut")
    resumed.resume()
    resumed.fit()
    expected = weights_of(tiny_run)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(resumed.run).items())


def test_teachers_are_not_those_whom_beams_are_measured_on_while_there_are_others(run, monkeypatch):
    monkeypatch.setattr(node_teaching, "MOST_USERS", 10)
    monkeypatch.setattr(node_teaching, "FEWEST_USERS", 10)
    measured = np.random.default_rng([run.config.seed, 7]).permutation(len(run.dataset.user_ids))[:10]
    assert not set(node_teaching._teachers(run)) & set(measured)
