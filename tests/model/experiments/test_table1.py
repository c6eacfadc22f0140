"""Table 1 from planted results, and its cheapest row from a log."""

import shutil

import pyarrow.parquet as pq
import pytest

from model.experiments.cells import Cell
from model.experiments.table1 import ROWS, configurations, report, run
from tests.model.data.logs import as_spark
from tests.model.experiments.tables import done


def cell(ne, flops):
    served = {how: {"recall@20": 0.2, "recall@100": 0.4, "flops": flops, "ms": 2.0, "overlap@100": 0.9}
              for how in ("beam", "exhaustive")}
    ebr = [{"recall@20": 0.1, "recall@100": 0.2, "flops": 1e6}, {"recall@20": 0.2, "recall@100": 0.396, "flops": 3e6},
           {"recall@20": 0.2, "recall@100": 0.4, "flops": 9e6}]
    return {"quality": {"ne": {"click": ne}, "recall@20": 0.2, "recall@100": 0.4, "ebr": ebr}, "served": served}


def test_models_are_compared_with_the_two_towers_and_ebr_is_its_cheapest_good_probe():
    made = report(done({slug: [cell(1.0 - at / 100, 1e6 * (at + 1))] for at, slug in enumerate(ROWS)}))
    rows = {row["name"]: row for row in made.data["rows"]}
    assert list(rows)[:2] == ["TTSN", "EBR"]
    assert rows["MoNN Large"]["ne_change"]["mean"] == pytest.approx(-3.0)
    assert rows["MoNN Large"]["cost"]["mean"] == pytest.approx(4.0)
    assert rows["EBR"]["beam_cost"]["mean"] == pytest.approx(3.0)
    assert rows["EBR"]["ne"] is None


def test_figures_that_no_test_user_defines_are_left_blank():
    undefined = {"quality": {"ne": {"click": None}, "recall@20": None, "recall@100": None, "ebr": []},
                 "served": {how: {"recall@20": None, "recall@100": None, "flops": None, "ms": None, "overlap@100": None}
                            for how in ("beam", "exhaustive")}}
    made = report(done({slug: [undefined] for slug in ROWS}))
    assert {row["ne"] for row in made.data["rows"]} == {row["cost"] for row in made.data["rows"]} == {None}
    assert made.markdown.count("| – |") > 10


def test_a_row_is_trained_exported_and_asked_through_its_beam(log, tmp_path):
    (kind, slug, settings), *others = configurations(log, small=True)
    assert [slug, *(other[1] for other in others)] == list(ROWS)
    result = run(Cell(kind, slug, settings, 0), log, tmp_path)
    assert 0 < result["served"]["beam"]["flops"] < result["served"]["exhaustive"]["flops"]
    assert 0 < result["served"]["beam"]["overlap@100"] <= 1
    assert result["quality"]["ebr"]
    rows = report(done({name: [result] for name in ROWS})).data["rows"]
    assert {row["ne_change"]["mean"] for row in rows if row["name"] != "EBR"} == {0.0}


def test_the_rows_are_the_same_for_a_folder_of_ads_as_for_a_file(tmp_path, log):
    shutil.copytree(log, tmp_path / "log")
    (tmp_path / "log" / "ads.parquet").unlink()
    as_spark(pq.read_table(log / "ads.parquet"), tmp_path / "log" / "ads.parquet", 3)
    assert configurations(tmp_path / "log", False) == configurations(log, False)
