"""Table 5 from planted results."""

import pytest

from model.experiments.table5 import report
from tests.model.experiments.tables import done, trained


def test_each_tree_is_compared_with_the_control_seed_by_seed():
    made = report(done({"monn-posthoc": [trained(1.0, ["posthoc"]), trained(0.8, ["posthoc"])],
                        "monn-em": [trained(0.9, ["em"]), trained(0.72, ["em"])],
                        "monn-joint": [trained(0.5, ["joint"]), trained(0.4, ["joint"])]}))
    change = {row["tree"]: row["change"]["mean"] for row in made.data["rows"]}
    assert change == pytest.approx({"posthoc": 0.0, "em": -10.0, "joint": -50.0})
    assert all(row["percent_scorer"]["mean"] == pytest.approx(15.0) for row in made.data["rows"])
    assert made.data["seeds"] == 2
    assert "| HILL (EM) | 0.8100 ± 0.1273 | -10.00 ± 0.00 % | -0.11 % |" in made.markdown
