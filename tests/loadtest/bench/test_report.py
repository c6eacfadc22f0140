"""The files of a bench's report."""

import json

from loadtest.bench.report import markdown, table, write


def test_report_files_exist_when_written(report, tmp_path):
    write(report, tmp_path / "out")
    assert json.loads((tmp_path / "out/bench.json").read_text()) == json.loads(json.dumps(report))
    text = (tmp_path / "out/bench.md").read_text()
    assert text == markdown(report) + "\n"
    assert report["in_words"] in text
    assert (tmp_path / "out/pareto.svg").read_text().startswith("<?xml")
    assert (tmp_path / "out/pareto.png").read_bytes().startswith(b"\x89PNG")


def test_table_is_padded_with_numbers_to_the_right():
    assert table(("name", "n"), [("a", "1,000"), ("long one", "2")]).splitlines() == [
        "| name     |     n |", "|----------|------:|", "| a        | 1,000 |", "| long one |     2 |"]


def test_report_says_so_when_the_beam_was_tuned_on_its_users(report):
    assert "tuned on these users" not in markdown(report)
    assert "tuned on these users" in markdown({**report, "fresh_users": False})
