"""Summaries over seeds, and Markdown."""

from model.experiments.figures import summary, table, text


def test_a_summary_has_mean_and_sample_deviation():
    assert text(summary([1.0, 2.0, 3.0]), ".2f") == "2.00 ± 1.00"
    assert text(summary([2.0]), "+.1f") == "+2.0"
    assert text(summary([2.0, None])) == "–"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
