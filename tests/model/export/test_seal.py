"""From a log to a sealed bundle by the real commands, and the parity that guards the seal."""

import json
import os
import shutil
import subprocess
import sys
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from index_store.bundle.bundle import Bundle
from index_store.bundle.folded_files import read_kernels
from index_store.bundle.manifest import BundleError
from index_store.value.bids import AdBids
from model.config.errors import ConfigError
from model.examples.clicks import Clicks
from model.export.golden import ParityError
from model.export.onnx_graphs import onnx_layers
from model.export.seal import assemble, export
from model.network.folding import FoldedNetwork
from tests.index_store.kernel.plain_scorer import compiled
from tests.model.commands import command, here, model
from tests.model.range_workers import Recording
from tests.model.tiny_runs import TINY, run_of, trained_run
from tests.model.worlds import positives, with_similar_users
from tests.paths import ROOT


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """A bundle of the run, and its manifest."""
    out = tmp_path_factory.mktemp("exported") / "bundle"
    return out, export(tiny_run, out, {"note": 1}, half=False, changes_included=7,
                       change_log_id="c0ffee")


def check_bench(report, quality):
    """The bench asks the exported graphs what `evaluate` asked the torch model."""
    assert report["ads"] == 300
    assert (report["quality_users"], report["timed_queries"]) == (quality["users"], 20)
    for k in ("recall@20", "recall@100"):
        assert report["exhaustive"][k] == pytest.approx(quality[k], abs=0.02)  # near ties may fall either way
    for row in report["beam"]:
        assert 0 < row["kernel_ms"] < row["p50_ms"]
        assert row["overlap@100"] > 0.999 or row["pairs"] < report["ads"] + 24, "a beam that loses ads scores fewer"
    assert max(row["overlap@100"] for row in report["beam"]) > 0.999


def test_an_ad_log_becomes_a_bundle_that_the_service_accepts(tmp_path):
    data, run, out = tmp_path / "data", tmp_path / "run", tmp_path / "bundle"
    model("data", "synthetic", "--ads", 300, "--users", 200, "--events", 4000, "--out", data)
    model("train", "--data", data, "--out", run, "--minutes", 0, "--epochs", 1, "--rounds", 1,
          "--branching", "4x5")
    model("export", "--run", run, "--out", out, "--changes-included", 5, "--change-log-id", "c0ffee")
    manifest = Bundle.open(out).manifest
    assert (manifest.changes_included, manifest.change_log_id) == (5, "c0ffee")
    sealed = Bundle.open(out).files.json("evaluation.json")
    assert len(Bundle.open(out).content.calibrations.of_task) == len(sealed["calibration"]) == 2
    assert sealed["calibration"]["click"]["measured_on"] > 100
    assert "is sound" in here("index_store", "verify", out)
    assert command("service", out, "--check").count("ok") >= 10
    quality = json.loads(model("evaluate", "--run", run).splitlines()[-1])
    assert set(quality["ne"]) == {"click", "conversion"}
    assert {name for name in quality["baselines"] if "skipped" not in quality["baselines"][name]} == {
        "popularity", "item cosine", "constant", "logistic regression", "iALS", "EASE", "two towers"}
    assert sealed["baselines"] == quality["baselines"]  # kept, with the seconds that they took
    report = json.loads(here("loadtest", "bench", "--bundle", out, "--data", data, "--queries", 20).splitlines()[-1])
    check_bench(report, quality)
    assert "already exists" in model("export", "--run", run, "--out", out, code=1)
    assert "already holds a run" in model("train", "--data", data, "--out", run, code=1)


def test_ranges_of_an_export_are_computed_by_whoever_is_given(tiny_run):
    ranges = Recording()
    content = assemble(tiny_run, workers=ranges)
    assert ranges.asked == ["_Embed"]
    expected = assemble(tiny_run).embeddings
    assert [level.tobytes() for level in content.embeddings] == [level.tobytes() for level in expected]


def test_bids_lie_where_their_ads_are(tiny_run):
    run, n = copy(tiny_run), len(tiny_run.dataset.items)
    run.dataset = replace(run.dataset, bids=AdBids(np.arange(n), np.arange(n).astype(np.uint8) % 3))
    content = assemble(run)
    assert content.bids.micros[content.tree.position_of_row].tolist() == list(range(n))
    assert content.bids.types[content.tree.position_of_row].tolist() == [row % 3 for row in range(n)]


def test_a_bundle_holds_what_the_run_learned(tiny_run, exported, tolerance=1e-5):
    folder, manifest = exported
    assert (manifest.changes_included, manifest.change_log_id) == (7, "c0ffee")
    opened = Bundle.open(folder)
    content, data = opened.content, tiny_run.dataset
    assert opened.bundle_id == manifest.bundle_id
    assert manifest.counts == {"items": 80, "users": 60}
    assert not manifest.calibrated
    vectors = torch.from_numpy(tiny_run.reader.all_items()[content.tree.rows])
    assert np.allclose(content.embeddings[-1], FoldedNetwork(tiny_run.model).item_part(vectors).numpy(), atol=tolerance)
    histories = Clicks.of(data.train, 60).histories(np.arange(60))
    assert np.array_equal(content.users.history.values, histories.values)
    assert content.tree.digest == assemble(tiny_run).tree.digest  # beams recorded on the one are of use to the other
    # Items with the same codes lie under the same node.
    leaf = content.tree.node_of_position(content.tree.depth - 1)[content.tree.position_of_row]
    _, prefix = np.unique(tiny_run.tree.codes, axis=0, return_inverse=True)
    assert len(np.unique(np.stack([leaf, prefix]), axis=1)[0]) == len(np.unique(leaf)) == len(np.unique(prefix))
    evaluation = opened.files.json("evaluation.json")
    assert evaluation["note"] == 1
    assert evaluation["parity"] <= 1e-4


def test_halves_keep_the_scores_within_their_own_tolerance(tiny_run, exported, tmp_path):
    whole, manifest = exported
    assert export(tiny_run, tmp_path / "half", {}).bundle_id != manifest.bundle_id
    opened = [Bundle.open(folder) for folder in (whole, tmp_path / "half")]
    assert [bundle.content.embeddings[0].dtype for bundle in opened] == [np.float32, np.float16]
    assert opened[0].files.json("evaluation.json")["parity"] <= 1e-4
    assert opened[1].files.json("evaluation.json")["parity"] <= 1e-2
    assert here("service", tmp_path / "half", "--check").count("ok") >= 10


def test_a_failed_export_leaves_nothing_behind(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr("index_store.bundle.graphs.SCORE_TOLERANCE", -1.0)
    with pytest.raises(ParityError):
        export(tiny_run, tmp_path / "bundle", {}, half=False)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_never_overwritten(tiny_run, tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BundleError, match="already exists"):
        export(tiny_run, tmp_path / "bundle", {})


def test_a_run_without_a_tree_is_not_exported(tmp_path):
    with pytest.raises(ConfigError, match="has no tree yet"):
        export(run_of(tmp_path / "run"), tmp_path / "bundle", {})


def test_a_node_keeps_its_members_embedding_with_its_own_offset(tmp_path, tolerance=1e-4):
    run, codes = run_of(tmp_path), np.random.default_rng(0).integers(0, 4, (80, 2)).astype(np.int32)
    run.model.eval()
    content = assemble(run, codes)
    with torch.no_grad():
        run.model.level_offsets.add_(1.0)
    moved = assemble(run, codes)
    assert np.allclose(moved.embeddings[0] - content.embeddings[0], 1.0, atol=tolerance)
    assert np.allclose(moved.embeddings[-1], content.embeddings[-1], atol=tolerance)


def test_export_refuses_a_number_that_no_change_has(tiny_run, tmp_path):
    with pytest.raises(ConfigError, match="cannot be -1"):
        export(tiny_run, tmp_path / "bundle", {}, changes_included=-1)
    with pytest.raises(ConfigError, match="include no change of change log c0ffee"):
        export(tiny_run, tmp_path / "bundle", {}, change_log_id="c0ffee")


def test_track_records_are_those_of_all_events(exported, tiny_run):
    out, _ = exported
    content, dataset = Bundle.open(out).content, tiny_run.dataset
    expected = np.zeros((len(dataset.items), 2), np.int64)
    for events in filter(None, (dataset.train, dataset.test)):
        for item, label in zip(events.items.tolist(), events.labels[:, 0].tolist(), strict=True):
            expected[item] += [1, label]
    assert content.records.tolist() == expected[content.tree.rows].tolist()


def test_a_run_with_similar_users_is_exported_with_the_clicks_that_they_are_found_by(tmp_path):
    run = trained_run(tmp_path / "run", replace(TINY, epochs=0), with_similar_users(positives()))
    export(run, tmp_path / "bundle", {})  # checks that its answers are those of the torch model
    content = Bundle.open(tmp_path / "bundle").content
    assert content.index.similar is not None
    assert content.index.similar.items.values.tolist() == run.key_index.similar.items.values.tolist()
    features, history = content.users.features.take(np.arange(1)), content.users.history.row(0)
    hits = content.query(np.zeros((1, 1), np.float32), features, history).hits
    assert (hits.families == 2).any(), "similar users reach keys"


def test_nodes_have_a_scorer_of_their_own_that_only_ranks_them(exported):
    manifest = exported[1]
    assert [(level.scorer, level.ensemble) for level in manifest.levels] == [
        *[("scorer_1.onnx", False)] * (len(manifest.levels) - 1), ("scorer_2.onnx", True)]
    assert manifest.ensemble == ()


def test_kernel_and_graph_of_an_exported_bundle_agree(exported, tolerance=1e-4):
    opened = Bundle.open(exported[0])
    kernels, graphs = read_kernels(opened.files, compiled()), opened.manifest.scorers
    random = np.random.default_rng(0)
    for kernel, graph, level in zip(kernels, graphs, (-2, -1), strict=True):
        run, embeddings = onnx_layers(opened.files.path(graph)), opened.content.embeddings[level]
        for pairs in (1, 33, 300):
            user = random.normal(size=(1, opened.manifest.dims["user_embedding"])).astype(np.float32)
            rows = random.integers(0, len(embeddings), pairs)
            features = random.uniform(0, 3, (pairs, opened.manifest.dims["interaction"])).astype(np.float32)
            np.testing.assert_allclose(kernel.rows(user, embeddings, rows, features),
                                       run(user, embeddings[rows], features), rtol=1e-5, atol=tolerance)


def test_an_installation_without_the_kernel_answers_an_exported_bundle_by_its_graphs(exported, tmp_path):
    assert command("service", exported[0], "--check").count("ok") >= 10
    for package in ("index_store", "service"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.so", "client"))
    program = ("from pathlib import Path; from index_store.bundle.bundle import Bundle; "
               "from service.retrieval.retriever import Retriever; import service.__main__ as m, asyncio, sys; "
               f"folder = Path({str(exported[0])!r}); print(Retriever(Bundle.open(folder)).runs); "
               "sys.exit(asyncio.run(m.check(folder)))")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ONNX Runtime: the kernel was not compiled")
