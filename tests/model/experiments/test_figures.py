"""Summaries over seeds, and Markdown."""

from model.experiments.figures import change_percent, summary, table, text


def test_a_summary_has_mean_and_sample_deviation():
    assert text(summary([1.0, 2.0, 3.0]), ".2f") == "2.00 ± 1.00"
    assert text(summary([2.0]), "+.1f") == "+2.0"
    assert text(summary([2.0, None])) == "–"
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_a_change_is_taken_seed_by_seed_and_undefined_where_a_figure_is():
    assert text(change_percent([1.1, 1.3], [1.0, 1.0]), "+.1f") == "+20.0 ± 14.1"
    for values, bases in (([1.0, None], [1.0, 1.0]), ([1.0], [None]), ([1.0], [0.0])):
        assert change_percent(values, bases) is None
