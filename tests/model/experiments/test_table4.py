"""Table 4 from planted results."""

import pytest

from model.config.hill import HillConfig
from model.experiments.table4 import VARIANTS, report
from tests.model.experiments.tables import done, trained


def test_each_technique_left_out_is_compared_with_all_three():
    results = {slug: [trained(0.5 + at / 20, ["joint"])] for at, slug in enumerate(VARIANTS)}
    made = report(done(results))
    assert [row["change"]["mean"] for row in made.data["rows"]] == pytest.approx([0.0, 10.0, 20.0, 30.0])
    assert [row["paper"] for row in made.data["rows"]] == [None, "+0.10 %", "+0.05 %", "+0.03 %"]


def test_without_its_schedule_the_attention_is_as_sharp_as_it_is_at_the_end():
    changed = VARIANTS["monn-joint-no-schedule"][1]["hill"]["sharpness"]
    assert changed == [HillConfig().sharpness[1]] * 2
