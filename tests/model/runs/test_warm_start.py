"""A run that starts from another one: on the same log it stays where it was, on a newer one it keeps what both know."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.config.errors import ConfigError
from model.config.hill import HillConfig
from model.config.monn import StackedLayer
from model.data.load import load_dataset
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from model.runs.warm_start import _take_weights, continued, start_from
from model.training.trainer import new_trainer, train
from tests.model.commands import here, model
from tests.model.tiny_runs import TINY, run_of
from tests.model.worlds import in_context

SMALL = replace(TINY, branching=(5, 4), epochs=2, rounds=1, batch_users=64)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log") / "data"
    model("data", "synthetic", "--ads", 200, "--users", 80, "--events", 1600, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def older(tmp_path_factory, log):
    """The same log without some of its ads, and what happened to them."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("older") / "data"
    shutil.copytree(log, folder, ignore=shutil.ignore_patterns("truth"))
    ads = pq.read_table(folder / "ads.parquet")
    ads = ads.take(np.flatnonzero(np.arange(len(ads)) % 5))
    pq.write_table(ads, folder / "ads.parquet")
    for name in ("events", "test_events"):
        events = pq.read_table(folder / f"{name}.parquet")
        pq.write_table(events.filter(pc.is_in(events["ad_id"], ads["ad_id"])), folder / f"{name}.parquet")
    return folder


@pytest.fixture(scope="module")
def older_run(tmp_path_factory, older):
    """A run on the older log, which nobody may change."""
    return train(older, load_dataset(older), SMALL, tmp_path_factory.mktemp("older-run") / "run", resume=False)


@pytest.mark.parametrize("tree", ["em", "joint"])
def test_most_items_stay_where_they_are_on_the_same_log(tmp_path, log, tree, most=0.35):
    first = train(log, load_dataset(log), replace(SMALL, tree=tree), tmp_path / "first", resume=False)
    config = continued(SMALL if tree == "em" else replace(SMALL, tree=tree), tmp_path / "first")
    assert (config.epochs, config.tree, config.branching) == (0, tree, (5, 4))
    second = train(log, load_dataset(log), config, tmp_path / "second", resume=False)
    entries = [json.loads(line) for line in (tmp_path / "second" / "log.jsonl").read_text().splitlines()]
    report = next(entry for entry in entries if "moved" in entry)
    assert report["of"] == 200
    assert report["moved"] < most * 200
    assert RunFolder(tmp_path / "second").config()[0].start_from == str(tmp_path / "first")
    assert first.tree.codes.shape == second.tree.codes.shape


def test_a_stack_continues_from_its_ensemble_and_withholds_the_same_pairs(tmp_path, log, older):
    stack = replace(SMALL, stack=(StackedLayer(1, SMALL.model),))
    before = new_trainer(older, load_dataset(older), stack, tmp_path / "older", resume=False)
    before.fit()
    config = continued(SMALL, tmp_path / "older")
    trainer = new_trainer(log, load_dataset(log), config, tmp_path / "newer", resume=False)
    assert torch.equal(trainer.run.model.weights, before.run.model.weights)
    assert torch.equal(trainer.run.model.intercept, before.run.model.intercept)
    learned, withheld = (
        set(zip(run.dataset.user_ids[part.users].tolist(), run.dataset.encoder.item_ids[part.items].tolist(),
                strict=True))
        for run, part in ((before.run, before.objective.events), (trainer.run, trainer.ensemble.withheld)))
    assert withheld
    assert not learned & withheld
    trainer.fit()
    assert not torch.equal(trainer.run.model.weights, before.run.model.weights)


def test_weights_and_codes_go_by_value_to_a_newer_log(tmp_path, log, older_run):
    before = older_run
    newer, config = load_dataset(log), continued(SMALL, before.folder.path)
    trainer = new_trainer(log, newer, config, tmp_path / "newer", resume=False)
    tables = [run.model.item_tables.arrays()["item.ad_id"] for run in (before, trainer.run)]
    old_row = {name: row for row, name in enumerate(before.dataset.encoder.item_ids)}
    for row, name in enumerate(newer.encoder.item_ids):
        known = name in old_row
        expected = tables[0][old_row[name] + 1 if known else 0]
        assert (tables[1][row + 1] == expected).all()
        assert (trainer.run.tree.codes[row] == (before.tree.codes[old_row[name]] if known else -1)).all()
    trainer.fit()
    assert (trainer.run.tree.codes >= 0).all()
    entries = [json.loads(line) for line in (tmp_path / "newer" / "log.jsonl").read_text().splitlines()]
    assert next(entry["of"] for entry in entries if "moved" in entry) == len(old_row)


@pytest.mark.parametrize("taught", ["before", "after"])
def test_a_head_that_only_one_of_the_runs_has_is_left_alone(tmp_path, log, taught):
    soft = tmp_path / "soft.parquet"
    data = load_dataset(log)
    pq.write_table(pa.table({"user_id": data.user_ids[:2].astype(str), "ad_id": data.encoder.item_ids[:2].astype(str),
                             **{task.name: [0.5, 0.5] for task in data.spec.tasks}}), soft)
    files = [str(soft) if when == taught else "" for when in ("before", "after")]
    train(log, data, replace(SMALL, epochs=0, teacher_file=files[0]), tmp_path / "first", resume=False)
    config = continued(replace(SMALL, teacher_file=files[1]), tmp_path / "first")
    fresh = Run(RunFolder(tmp_path / "second"), data, config)
    start_from(fresh, tmp_path / "first")
    tasks = len(data.spec.tasks)
    heads = [run.model.layer(-1).over_arch.head.weight[:tasks] for run in (Run.open(tmp_path / "first"), fresh)]
    assert heads[0].equal(heads[1])


def test_an_export_follows_a_warm_start(tmp_path, log):
    shape = ("--branching", "5x4", "--batch-users", 64, "--epochs", 1, "--minutes", 0)
    model("train", "--data", log, "--out", tmp_path / "a", "--tree", "joint", "--rounds", 1, *shape)
    model("train", "--data", log, "--out", tmp_path / "b", "--from", tmp_path / "a", "--rounds", 1,
            "--batch-users", 64)
    model("export", "--run", tmp_path / "b", "--out", tmp_path / "bundle", "--baselines", "none")
    assert here("service", tmp_path / "bundle", "--check").count("ok") >= 10
    report = json.loads(model("evaluate", "--run", tmp_path / "b", "--trees").splitlines()[-1])
    assert set(report) == {"joint", "k-means on score profiles", "k-means on item embeddings"}
    for tree in report.values():
        found = [tree[nodes][share] for nodes in ("scorer", "oracle") for share in ("1%", "2%", "5%")]
        assert all(overlap is None or 0 <= overlap <= 1 for overlap in found)


def test_another_kind_of_tree_than_the_run_has_is_refused(tmp_path):
    RunFolder(tmp_path).create(TINY, tmp_path)
    with pytest.raises(ConfigError, match=r"tree is joint, but .* has em; a run that starts from another keeps it"):
        continued(replace(TINY, tree="joint"), tmp_path)
    with pytest.raises(ConfigError, match="hill is"):
        continued(replace(TINY, hill=HillConfig(codebooks="shared")), tmp_path)


def test_a_log_with_other_fields_and_a_lost_log_are_refused(tmp_path, log, older_run):
    shutil.copytree(older_run.folder.path, tmp_path / "run")
    newer = load_dataset(log)
    other = replace(newer, spec=replace(newer.spec, history_length=7))
    with pytest.raises(ConfigError, match="declares other fields, tasks or key families than the new data"):
        start_from(Run(RunFolder(tmp_path / "new"), other, SMALL), tmp_path / "run")
    content = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "run" / "config.json").write_text(json.dumps(content | {"data": str(tmp_path / "gone")}))
    with pytest.raises(ConfigError, match="which is gone; its vocabularies are needed"):
        start_from(Run(RunFolder(tmp_path / "new"), newer, SMALL), tmp_path / "run")


def test_context_values_of_both_logs_keep_their_rows_and_new_ones_begin_as_unknown(tmp_path, context_run):
    newer = in_context(800)
    vocabularies = newer.encoder.vocabularies | {"context.hour": np.array([b"dawn", b"day", b"night"])}
    newer = replace(newer, encoder=replace(newer.encoder, vocabularies=vocabularies))
    other = run_of(tmp_path / "run", data=newer, config=context_run.config)
    _take_weights(other, context_run)
    own, old = other.model.context, context_run.model.context
    for one, before in zip((own.embeddings[0], own.shifts[0]), (old.embeddings[0], old.shifts[0]), strict=True):
        assert not one[:2].detach().any()
        torch.testing.assert_close(one[2:], before[1:])
    torch.testing.assert_close(own.shifts[1], old.shifts[1])
