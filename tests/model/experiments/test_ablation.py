"""The ablation: its rows for a log, what a row leaves out, and its table from planted results."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index_store.features.interaction import feature_names
from model.data.load import load_dataset
from model.data.tables import SPEC, read_spec
from model.experiments.ablation import KIND, TABLE, configurations, report, run
from model.experiments.cells import Cell
from model.runs.checkpoint import RunFolder
from model.runs.run import Run
from tests.model.experiments.tables import done


def planted(recall):
    return {"quality": {"ne": {"click": 0.9}, "recall@20": recall, "recall@100": 2 * recall}}


def test_a_log_of_impressions_with_fields_has_a_row_for_each_input(log):
    rows = {slug: settings for _, slug, settings in configurations(log, small=False)}
    assert set(rows) == {"whole", "no-spectral", "no-neighbours", "no-neighbours-no-spectral", "no-matches",
                         "no-fields"}
    named = {family.name for family in read_spec(log).key_families}
    assert set(rows["no-neighbours"]["ignored"]) | set(rows["no-matches"]["ignored"]) == named
    assert all(settings["rounds"] == 0 for settings in rows.values())


def test_a_log_of_ids_alone_has_fewer_rows_and_one_for_its_negatives(tmp_path):
    (tmp_path / SPEC).write_text(json.dumps({
        "user_fields": [], "item_fields": [], "tasks": [{"name": "click", "weight": 1.0}], "negatives": "sampled",
        "key_families": [{"name": "near", "item_field": "ad_id", "via": "co_click", "neighbours": 5}]}))
    pq.write_table(pa.table({"ad_id": ["a", "b"]}), tmp_path / "ads.parquet")
    rows = {slug: settings for _, slug, settings in configurations(tmp_path, small=False)}
    assert set(rows) == {"whole", "no-spectral", "no-neighbours", "no-neighbours-no-spectral", "no-hard-negatives"}
    assert rows["no-hard-negatives"]["hard_share"] == 0


def test_a_model_without_an_input_does_not_depend_on_it(log, tmp_path):
    rows = {slug: settings for _, slug, settings in configurations(log, small=True)}
    run(Cell(KIND, "no-spectral", rows["no-spectral"], 0), log, tmp_path)
    trained = Run.open(tmp_path / "run")
    names, tower = feature_names(trained.dataset.spec), trained.model.layer(-1).interaction_tower
    features = trained.reader.tensor(np.random.default_rng(0).normal(size=(5, len(names))).astype(np.float32))
    before = tower(features)
    for at, name in enumerate(names):
        changed = features.clone()
        changed[:, at] += 3
        moved = any((one != other).any() for one, other in zip(tower(changed), before, strict=True))
        assert not moved or not name.startswith("spectral."), name
    assert (tower(features + 3)[0] != before[0]).any()


def test_ids_alone_have_neither_fields_nor_their_key_families(log, tmp_path):
    rows = {slug: settings for _, slug, settings in configurations(log, small=True)}
    result = run(Cell(KIND, "no-fields", rows["no-fields"], 0), log, tmp_path)
    config, data = RunFolder(tmp_path / "run").config()
    spec = load_dataset(data).spec
    assert (spec.user_fields, spec.item_fields) == ((), ())
    assert [family.item_field for family in spec.key_families] == ["ad_id"]
    assert not config.rounds
    assert 0 <= result["quality"]["recall@20"] <= 1


def test_a_log_whose_families_all_need_fields_has_no_row_of_ids_alone(log, tmp_path):
    declared = json.loads((log / SPEC).read_bytes())
    kept = [family for family in declared["key_families"] if family["item_field"] != "ad_id"]
    (tmp_path / "ads.parquet").symlink_to(log / "ads.parquet")
    (tmp_path / SPEC).write_text(json.dumps(declared | {"key_families": kept}))
    assert {slug for _, slug, _ in configurations(tmp_path, small=True)} == {"whole", "no-spectral", "no-matches"}


def test_each_row_is_compared_with_the_whole():
    table = report(done({"whole": [planted(0.4)], "no-spectral": [planted(0.3)]}))
    assert [row["change"]["mean"] for row in table.data["rows"]] == pytest.approx([0.0, -25.0])
    assert "| without spectral products | 0.9000 | 0.3000 | 0.6000 | -25.0 % |" in table.markdown
    assert TABLE.name == "ablation"
