"""The table of test-time training from planted results."""

import pytest

from model.experiments.node_pair_runs import NAMES, report
from tests.model.experiments.tables import done, trained


def test_the_pairs_are_compared_with_every_other_arm():
    quality = {arm: trained(ne)["quality"] for arm, ne in zip(NAMES, (1.0, 0.8, 0.9, 1.6), strict=True)}
    made = report(done({"monn-em-test-time": [{**quality, "found": {"level 2": 12, "level 1": 3}}]}))
    changes = {row["name"]: row["pairs_change_percent"].get("ne") for row in made.data["rows"]}
    assert changes.pop("with the pairs") is None
    assert {name: change["mean"] for name, change in changes.items()} == pytest.approx({
        "before": -20.0, "control: real pairs alone": 100 * (0.8 / 0.9 - 1), "control: random nodes": -50.0})
    assert "12 at level 2, 3 at level 1" in made.markdown


def test_figures_that_the_test_events_do_not_define_are_left_blank():
    quality = {"ne": {"click": None}, "recall@20": None, "recall@100": 0.3}
    made = report(done({"monn-em-test-time": [{**dict.fromkeys(NAMES, quality), "found": {"level 1": 3}}]}))
    assert {row["ne"] for row in made.data["rows"]} == {row["recall@20"] for row in made.data["rows"]} == {None}
    assert {row["recall@100"]["mean"] for row in made.data["rows"]} == {0.3}
