"""The table of variants from planted results, and its row with a teacher from a log."""

import pytest

from model.experiments.cells import Cell
from model.experiments.variants import VARIANTS, configurations, report, run
from tests.model.experiments.tables import done, trained


def test_each_choice_is_compared_with_the_first():
    results = {slug: [trained(1.0 - at / 10, [changes["tree"]])] for at, (slug, (_, _, changes)) in
               enumerate(VARIANTS.items())}
    rows = report(done(results)).data["rows"]
    assert [row["change"]["mean"] for row in rows] == pytest.approx([-10.0 * at for at in range(len(VARIANTS))])
    assert rows[0]["name"] == "Wukong, node features by maximum, EM"
    assert all(row["overlap_scorer"]["mean"] == pytest.approx(0.5) for row in rows)  # 50 pairs are 5 % of the ads


def test_a_student_is_trained_after_its_teacher(log, tmp_path):
    (row,) = (row for row in configurations(log, small=True) if row[1] == "monn-distilled")
    kind, slug, settings = row
    result = run(Cell(kind, slug, settings, 0), log, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"teacher", "student"}
    assert set(result["trees"]) >= {"em"}
    assert result["quality"]["ne"]["click"] > 0
