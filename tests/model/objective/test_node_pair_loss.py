"""Test-time training: the pairs of a planted log are found and learned, the controls run, and the tree stays."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.tree.recorded_beams import RecordedBeams
from model.config.errors import ConfigError
from model.config.pairs import PairsConfig
from model.data.load import load_dataset
from model.objective.node_pair_loss import PairLoss, open_pairs
from model.runs.checkpoint import RunFolder
from model.training.trainer import new_trainer, train
from model.tree.learned_tree import FixedTreeReader
from model.tree.node_pairs import Interest, index_pairs
from service.sampling.beam_files import write_beams
from tests.model.commands import here, model
from tests.model.tiny_runs import TINY, interrupted, loss_of, weights_of
from tests.model.worlds import lists

SMALL = replace(TINY, branching=(5, 4), epochs=2, rounds=1, batch_users=64)
PAIRS = PairsConfig((0.3, 0.2))


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A log of positives: 150 users click most ads of one of 20 groups of 10."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder, rng = tmp_path_factory.mktemp("log") / "data", np.random.default_rng(0)
    source = folder.parent / "source"
    source.mkdir()
    ids = [f"a{item:03}" for item in range(200)]
    clicks = [(user, 10 * (user % 20) + item) for user in range(150) for item in rng.permutation(10)[:9]]
    pq.write_table(pa.table({"user_id": [f"u{user:03}" for user in range(150)]}), source / "users.parquet")
    pq.write_table(pa.table({"ad_id": ids, "group": [str(item // 10) for item in range(200)]}), source / "ads.parquet")
    for name, part in (("events", [c for at, c in enumerate(clicks) if at % 9]), ("test_events", clicks[::9])):
        pq.write_table(pa.table({"user_id": [f"u{user:03}" for user, _ in part], "ad_id": [ids[ad] for _, ad in part],
                                 "timestamp": [0] * len(part), "click": [1] * len(part)}), source / f"{name}.parquet")
    (source / "features.json").write_text(json.dumps({
        "user_fields": [], "item_fields": [{"name": "group", "kind": "categorical"}], "tasks": [{"name": "click"}],
        "negatives": "sampled", "history_ordered": False,
        "key_families": [{"name": "group", "item_field": "group", "via": "match"}]}))
    model("data", "parquet", "--source", source, "--out", folder)
    return folder


@pytest.fixture(scope="module", params=["em", "joint"])
def run(tmp_path_factory, log, request):
    out = tmp_path_factory.mktemp("runs") / request.param
    train(log, load_dataset(log), replace(SMALL, tree=request.param), out, resume=False)
    return out


def fine_tuned(run, log, out, pairs=PAIRS):
    """A trainer that trained the pairs."""
    config = replace(RunFolder(run).config()[0], epochs=0, start_from=str(run), pairs=pairs)
    trainer = new_trainer(log, load_dataset(log), config, out, resume=False)
    trainer.fit()
    return trainer


def started(run, log, out, pairs=PAIRS):
    """A trainer with the weights of a run, which has not trained yet."""
    config = replace(RunFolder(run).config()[0], epochs=0, start_from=str(run), pairs=pairs)
    trainer = new_trainer(log, load_dataset(log), config, out, resume=False)
    trainer.run.model.eval()
    return trainer


def fixed_tree(trainer):
    return FixedTreeReader(trainer.run.reader, trainer.run.tree, trainer.run.key_index, trainer.config.node_features)


def entries(out, key):
    return [entry for line in (out / "log.jsonl").read_text().splitlines() if key in (entry := json.loads(line))]


def test_the_tree_and_its_node_numbers_stay_while_weights_learn(tmp_path, run, log):
    before = started(run, log, tmp_path / "before").run
    after = fine_tuned(run, log, tmp_path / "after").run
    assert np.array_equal(before.tree.codes, after.tree.codes)
    trees = [one.tree.build(one.reader.all_items())[0] for one in (before, after)]
    assert trees[0].digest == trees[1].digest
    assert any(not torch.equal(tensor, weights_of(after)[name]) for name, tensor in weights_of(before).items())
    for name, tensor in before.tree.modules.get("index", torch.nn.Module()).state_dict().items():
        assert torch.equal(tensor, after.tree.modules["index"].state_dict()[name])
    assert not entries(tmp_path / "after", "tree")


def test_the_pairs_of_the_log_are_logged(tmp_path, run, log):
    after = fine_tuned(run, log, tmp_path / "out").run
    tree = after.tree.build(after.reader.all_items())[0]
    expected = index_pairs(tree, Interest(after.clicks.by_user), PAIRS.phi)
    (report,) = entries(tmp_path / "out", "pairs")
    assert report["pairs"] == {f"level {level.level}": len(level) for level in expected}
    assert report["users"] == len(set(np.concatenate([level.users for level in expected]).tolist()))


def test_the_loss_of_the_pairs_is_learned(tmp_path, run, log, less_than=0.9):
    """By itself, for the log's own loss wants the same: here the pairs alone are stepped on."""
    trainer = started(run, log, tmp_path / "out")
    objective, tree = trainer.objective, fixed_tree(trainer)
    pairs = open_pairs(objective, tree.tree, trainer.run.folder.log)

    def measured():
        trainer.run.model.eval()
        with torch.no_grad():
            return np.mean([pairs.loss(64, tree, np.random.default_rng(seed)).item() for seed in range(8)])

    before = measured()
    trainer.run.model.train()
    for step in range(60):
        for optimizer in trainer.optimizers.values():
            optimizer.zero_grad()
        pairs.loss(64, tree, np.random.default_rng([1, step])).backward()
        for optimizer in trainer.optimizers.values():
            optimizer.step()
    assert measured() < less_than * before


def test_each_control_does_what_it_says(tmp_path, run, log):
    arms = {control: fine_tuned(run, log, tmp_path / (control or "pairs"), replace(PAIRS, control=control))
            for control in ("", "real", "random")}
    assert arms["real"].pairs is None
    real, drawn = arms[""].pairs, arms["random"].pairs
    for ours, theirs in zip(real.pairs, drawn.pairs, strict=True):
        assert np.array_equal(ours.users, theirs.users)
    assert any(not np.array_equal(ours.nodes, theirs.nodes) for ours, theirs in zip(real.pairs, drawn.pairs,
                                                                                   strict=True))
    weights = [weights_of(trainer.run)["level_offsets"] for trainer in arms.values()]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_controls_see_the_same_batches(tmp_path, run, log):
    """Whatever the pairs draw, the log's own loss draws what it would have drawn without them."""
    trainers = [started(run, log, tmp_path / name, replace(PAIRS, control=name)) for name in ("real", "random")]
    losses = []
    for trainer in trainers:
        torch.manual_seed(0)
        tree = fixed_tree(trainer)
        losses.append(loss_of(trainer, np.arange(64), tree))
    assert losses[0].item() == losses[1].item()


def test_clicks_that_made_a_pair_are_hidden_from_its_features(tmp_path, run, log):
    trainer = fine_tuned(run, log, tmp_path / "out")
    pairs: PairLoss = trainer.pairs
    tree = fixed_tree(trainer)
    level = pairs.pairs[0]
    node_of_row = tree.node_of_row[level.level - 1]
    clicked = pairs.users.history.take(level.users)
    seen = pairs._history(clicked, level.nodes, node_of_row)
    for place in range(len(level)):
        expected = [row for row in clicked.row(place).tolist() if node_of_row[row] != level.nodes[place]]
        assert seen.row(place).tolist() == expected[:trainer.run.reader.spec.history_length]
        assert len(expected) < len(clicked.row(place))


def test_a_run_that_was_interrupted_between_epochs_ends_at_the_same_weights(tmp_path, run, log):
    config = replace(RunFolder(run).config()[0], epochs=0, rounds=2, start_from=str(run), pairs=PAIRS)
    whole = train(log, load_dataset(log), config, tmp_path / "whole", resume=False)
    interrupted(new_trainer(log, load_dataset(log), config, tmp_path / "broken", resume=False), (1, 0))
    resumed = train(log, load_dataset(log), config, tmp_path / "broken", resume=True)
    for name, tensor in weights_of(resumed).items():
        assert torch.equal(tensor, weights_of(whole)[name]), name


@pytest.mark.parametrize("interest", ["beam", "union"])
def test_recorded_beams_are_learned(tmp_path, run, log, interest):
    before = started(run, log, tmp_path / "before").run
    tree, users = before.tree.build(before.reader.all_items())[0], np.arange(40)
    nodes = [np.flatnonzero(tree.child_counts(2, np.arange(tree.size(2))) > 1)[:1] for _ in users]
    kept = (lists([[0]] * 40), lists(nodes), lists([tree.children(2, own) for own in nodes]))
    beams = RecordedBeams(before.dataset.users.take(users), before.clicks.histories(users), kept)
    write_beams(tmp_path / "beams.parquet", beams, "bundle", tree.digest)
    pairs = PairsConfig((1.0,), interest, (str(tmp_path / "beams.parquet"),))
    fine_tuned(run, log, tmp_path / "out", pairs)
    (report,) = entries(tmp_path / "out", "pairs")
    assert report["pairs"]["level 2"] >= 40
    assert report["users"] == 40


def test_the_command_takes_data_and_settings_of_the_run(tmp_path, log):
    model("train", "--data", log, "--out", tmp_path / "a", "--branching", "5x4", "--batch-users", 64,
            "--rounds", 1, "--holdout", 0.1, "--seed", 3, "--minutes", 0)
    model("train", "--from", tmp_path / "a", "--phi", "0.3,0.2", "--rounds", 1, "--out", tmp_path / "b")
    (before, data), (after, again) = RunFolder(tmp_path / "a").config(), RunFolder(tmp_path / "b").config()
    assert data == again
    assert (after.seed, after.holdout, after.batch_users, after.epochs) == (3, 0.1, 64, 0)
    assert after.learning_rate == pytest.approx(0.1 * before.learning_rate)
    assert after.pairs == PAIRS
    model("export", "--run", tmp_path / "b", "--out", tmp_path / "bundle", "--baselines", "none")
    assert here("service", tmp_path / "bundle", "--check").count("ok") >= 10
    again = ("train", "--out", tmp_path / "c", "--data", log)
    assert "--control is a flag of test-time training" in model(*again, "--control", "real", code=1)
    assert "name it with --from" in model(*again, "--phi", "0.5", code=1)
    assert "phi has 3 thresholds (0.8, 0.4, 0.2), but the tree has 2 levels" in model(
        *again, "--from", tmp_path / "a", "--phi", "0.8,0.4,0.2", code=1)
    assert "seed is 4, but" in model(*again, "--from", tmp_path / "a", "--phi", "0.8", "--seed", 4, code=1)


def test_settings_that_cannot_work_are_refused_before_training(tmp_path, run, log):
    before = started(run, log, tmp_path / "before").run
    nothing = RecordedBeams(before.dataset.users.take(np.arange(3)), lists([[]] * 3), (lists([[0]] * 3),
                            lists([[0]] * 3), lists([[]] * 3)))
    write_beams(tmp_path / "b.parquet", nothing, "b", before.tree.build(before.reader.all_items())[0].digest)
    with pytest.raises(ConfigError, match=r"phi 0.9 finds no pair in the beam of 3 users"):
        fine_tuned(run, log, tmp_path / "none", PairsConfig((0.9,), "beam", (str(tmp_path / "b.parquet"),)))
    assert not (tmp_path / "none" / "weights.safetensors").exists()
    with pytest.raises(ConfigError, match="the interest is beam and 0 files of beams are given"):
        PairsConfig((0.8,), "beam")
    with pytest.raises(ConfigError, match="the interest is history and 1 files of beams are given"):
        PairsConfig((0.8,), beams=("x",))
    with pytest.raises(ConfigError, match="refer to the tree of another run; name it with --from"):
        replace(TINY, pairs=PAIRS)


def test_another_catalogue_is_refused(tmp_path, run, log):
    import shutil

    import pyarrow as pa
    import pyarrow.parquet as pq
    shutil.copytree(log, tmp_path / "more")
    ads = pq.read_table(log / "ads.parquet")
    extra = pa.table({name: pa.array(["new"] if name == "ad_id" else [None], ads.schema.field(name).type)
                      for name in ads.column_names}, schema=ads.schema)
    pq.write_table(pa.concat_tables([ads, extra]), tmp_path / "more" / "ads.parquet")
    with pytest.raises(ConfigError, match=r"has a tree over 200 ads, the data has 201, 1 of them new"):
        fine_tuned(run, tmp_path / "more", tmp_path / "out")
