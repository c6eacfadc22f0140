"""Choice of hyperparameters on hold-outs of train pairs: what each holds out, and what a trial measures."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from model.backbone import choose, model, ranking
from model.backbone.features import PairFeatures
from model.backbone.hold_outs import SHAPES, shaped
from model.backbone.interactions import degrees, hold_out, lengths, matrix
from model.config import ConfigError
from tests.model.backbone.splits import SMALL, planted, write
from tests.model.commands import command


@pytest.fixture(scope="module")
def skewed():
    """Item i is taken by about 600 / (i + 2) of 300 users, and by no group."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((300, 80)) < np.minimum(2 / (np.arange(80) + 2), 0.9))
    return matrix(users, items, (300, 80))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_hold_out_splits_the_train_pairs(skewed, shape):
    split = shaped(skewed, shape, 0.2, seed=0)
    assert (split.train + split.test != skewed).nnz == 0
    counts = lengths(skewed)
    assert (lengths(split.test) == np.where(counts > 1, np.maximum(1, np.round(0.2 * counts)), 0)).all()
    again = shaped(skewed, shape, 0.2, seed=0)
    assert (again.test != split.test).nnz == 0


def test_chances_decide_which_pairs_go():
    train = matrix(np.repeat(np.arange(50), 10), np.tile(np.arange(10), 50), (50, 10))
    chances = np.where(train.indices < 2, 1e9, 1e-9).astype(np.float32)
    assert set(hold_out(train, 0.2, np.random.default_rng(0), chances).test.indices) == {0, 1}


def test_popular_pairs_are_likelier_held_out_than_rare_ones(skewed):
    popularity = {shape: degrees(skewed)[shaped(skewed, shape, 0.2, seed=0).test.indices].mean()
                  for shape in ("popular", "random", "rare")}
    assert popularity["popular"] > 1.1 * popularity["random"] > 1.2 * popularity["rare"]


def test_near_pairs_are_those_of_a_users_group():
    """A tenth of a user's items are of other groups: the far hold-out has most of them, the near one hardly any."""
    train = planted().train
    strangers = {}
    for shape in ("near", "random", "far"):
        test = shaped(train, shape, 0.2, seed=0).test
        owners = np.repeat(np.arange(300), lengths(test))
        strangers[shape] = np.mean(test.indices % 6 != owners % 6)
    assert strangers["near"] < strangers["random"] < strangers["far"]


def test_a_trial_is_what_the_backbone_reaches(skewed):
    trials = [SMALL, replace(SMALL, epochs=1), replace(SMALL, candidates=8)]
    found = dict(choose.judge(skewed, trials, "random", users=1000, seed=3))
    split = shaped(skewed, "random", choose.SHARE, seed=3)
    asked = np.flatnonzero(lengths(split.test))
    for place, config in enumerate(trials):
        backbone, neighbours = model.fit(split.train, config, seed=3)
        block = PairFeatures(split.train, neighbours, backbone.towers).block(asked)
        top = model.rank(backbone.head, block, *model.candidates(block, config.candidates))
        wanted = ranking.quality(top, split.test[asked])
        assert found[place].recall == pytest.approx(wanted.recall, abs=1e-6)
        assert found[place].ndcg == pytest.approx(wanted.ndcg, abs=1e-6)


def test_the_command_prints_every_trial_on_every_hold_out(tmp_path):
    split = planted(users=120, items=60)
    folder = write(tmp_path / "split", split.train, split.test)
    printed = command("model.backbone.choose", "--data", folder, "--users", 50, "--shapes", "rare", "far", "--",
                      "epochs=1,rate=0.001", "hidden=8")
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert table[0] == "| trial | rare | far | mean |"
    assert [line.split(" | ")[0] for line in table[2:]] == ["| epochs=1,rate=0.001", "| hidden=8"]


@pytest.mark.parametrize(("text", "says"), [("depth=3", "no hyperparameter 'depth'"), ("rate=fast", "rate is 'fast'")])
def test_a_malformed_trial_is_refused(text, says):
    with pytest.raises(ConfigError, match=says):
        choose.trial(text)


def test_a_trial_that_cannot_run_is_refused_with_a_reason(tmp_path):
    assert "train.npz does not exist" in command("model.backbone.choose", "--data", tmp_path, code=2)
    assert "--users is 0" in command("model.backbone.choose", "--data", tmp_path, "--users", 0, code=2)


def test_the_test_pairs_are_not_looked_at(tmp_path):
    split = planted(users=120, items=60)
    other = sparse.csr_matrix(split.test)[::-1]
    folders = [write(tmp_path / "a", split.train, split.test),
               write(tmp_path / "b", split.train, other - other.multiply(sparse.csr_matrix(split.train)))]
    printed = [command("model.backbone.choose", "--data", folder, "--users", 50, "--shapes", "random")
               for folder in folders]
    tables = [[line for line in text.splitlines() if line.startswith("|")] for text in printed]
    assert tables[0] == tables[1]
