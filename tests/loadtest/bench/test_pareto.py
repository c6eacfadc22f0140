"""Pareto fronts, the cost of an overlap, and the summary in numbers and words."""

import pytest

from loadtest.bench.pareto import compared, cost_at, front, in_words, summary


def row(overlap, ms, pairs=100):
    return {"name": f"{overlap} at {ms}", "overlap@100": overlap, "p50_ms": ms, "pairs": pairs, "search_ms": ms,
            "kernel_ms": ms / 2}


def test_cost_at_an_overlap_is_interpolated_on_the_front():
    rows = [row(0.9, 2.0), row(1.0, 8.0), row(0.8, 3.0)]
    assert front(rows) == rows[:2]
    assert cost_at(rows, 0.95) == pytest.approx(4.0)
    assert cost_at(rows, 0.5) == 2.0
    assert cost_at(rows[:1], 0.95) is None


def test_summary_names_the_best_baseline_or_that_none_reached_the_overlap():
    report = {"ads": 10_000, "exhaustive": row(1.0, 100.0), "beam": [row(0.9, 1.0), row(0.96, 2.0)],
              "hnsw": [row(0.7, 9.0)], "ivf": [row(0.95, 8.0)], "graph": [row(0.99, 6.0)]}
    found = summary(report)
    assert found["beam"] == report["beam"][1]
    assert found["speed_up"] == 50.0
    assert (found["best_rival"], found["speed_up_over_best_rival"]) == ("graph", 3.0)
    assert found["rivals"] == {"hnsw": None, "ivf": 8.0, "graph": 6.0}
    nobody = summary({**report, "beam": [row(0.9, 1.0)], "ivf": [], "graph": []})
    assert (nobody["beam"], nobody["speed_up"], nobody["best_rival"]) == (None, None, None)


def words(**rows):
    report = {"ads": 10_000, "exhaustive": row(1.0, 10.0), "beam": [row(0.96, 2.0)], "hnsw": [row(0.97, 4.0)],
              "ivf": [row(0.8, 1.0)], "graph": [], **rows}
    return in_words({**report, "summary": summary(report)})


def test_words_say_faster_when_the_beam_is_faster():
    text = words()
    assert "100 pairs (1.00% of the ads), 5.0 times faster than exhaustive." in text
    assert "The beam is 2.00 times faster than the best baseline, hnsw." in text
    assert "hnsw: 4.00 ms at overlap 0.95, interpolated." in text
    assert "ivf: none reached it; best 0.800 at 1.00 ms." in text
    assert "slower" not in text


def test_words_say_slower_when_the_beam_is_slower():
    text = words(beam=[row(0.96, 20.0)])
    assert "2.0 times slower than exhaustive." in text
    assert "The beam is 5.00 times slower than the best baseline, hnsw." in text
    assert "faster" not in text


def test_words_name_the_nearest_beam_when_none_reaches_the_overlap():
    text = words(beam=[row(0.5, 1.0), row(0.9, 3.0)])
    assert text.startswith("No beam reached overlap 0.95; the nearest is 0.9 at 3.0: 0.900 at 3.00 ms.")
    assert "than the best baseline" not in text


@pytest.mark.parametrize(("speed_up", "said"), [
    (2.04, "2.0 times faster than"), (1.04, "as fast as"), (1.0, "as fast as"), (0.96, "as fast as"),
    (0.9, "1.1 times slower than"), (0.5, "2.0 times slower than")])
def test_a_ratio_is_never_said_to_be_faster_when_it_rounds_to_one_or_less(speed_up, said):
    assert compared(speed_up) == said
