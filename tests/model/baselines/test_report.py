"""The table of baselines for people, and the line for whatever beats the model."""

import pytest

from model.baselines.report import table_text, verdicts

MODEL = {"recall@20": 0.3, "se_recall@20": 0.004, "recall@100": 0.6, "se_recall@100": 0.005, "ne": {"click": 0.9}}
IALS = {"recall@20": 0.327, "se_recall@20": 0.0041, "recall@100": 0.59, "se_recall@100": 0.005, "seconds": 11.04}


def test_a_baseline_that_is_better_by_any_figure_is_named_with_both_values():
    assert verdicts(MODEL, {"iALS": IALS}) == ["iALS beats this run: Recall@20 0.3270 ± 0.0041 against 0.3000 ± 0.0040"]
    assert verdicts(MODEL, {"logistic regression": {"ne": {"click": 0.85}}, "constant": {"ne": {"click": 1.0}}}) == [
        "logistic regression beats this run: NE of click 0.8500 against 0.9000"]
    assert verdicts(MODEL, {"EASE": {"skipped": "too large"}, "popularity": {"recall@20": 0.3}}) == []


@pytest.mark.parametrize("row", [{"recall@20": None, "recall@100": None}, {"ne": {"click": None, "buy": 0.5}}])
def test_figures_that_are_not_defined_are_not_compared(row):
    assert verdicts(MODEL, {"iALS": row}) == []
    assert verdicts({"recall@20": None, "ne": {"click": None}}, {"iALS": IALS | {"ne": {"click": 0.1}}}) == []


def test_the_table_has_a_line_for_each_and_says_what_is_skipped():
    text = table_text(MODEL, {"constant": {"ne": {"click": 1.0}}, "iALS": IALS, "EASE": {"skipped": "too large"}})
    lines = text.splitlines()
    assert lines[0].split() == ["Recall@20", "Recall@100", "NE", "click", "seconds"]
    assert lines[1].split() == ["this", "run", "0.3000", "±", "0.0040", "0.6000", "±", "0.0050", "0.9000"]
    assert lines[2].split() == ["constant", "1.0000"]
    assert lines[3].split()[-1] == "11.0"
    assert lines[4] == "EASE is skipped: too large"
    assert lines[5].startswith("iALS beats this run: Recall@20")
    assert len({len(line) for line in lines[:2]} | {len(lines[3])}) <= 3
