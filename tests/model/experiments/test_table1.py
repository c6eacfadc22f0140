"""Table 1 from planted results."""

import shutil

import pyarrow.parquet as pq
import pytest

from model.experiments.table1 import ROWS, configurations, report
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


def test_the_rows_are_the_same_for_a_folder_of_ads_as_for_a_file(tmp_path, log):
    shutil.copytree(log, tmp_path / "log")
    (tmp_path / "log" / "ads.parquet").unlink()
    as_spark(pq.read_table(log / "ads.parquet"), tmp_path / "log" / "ads.parquet", 3)
    assert configurations(tmp_path / "log", False) == configurations(log, False)
