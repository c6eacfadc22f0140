"""The files of a growth report."""

import json

from loadtest.growth.report import markdown, write


def test_report_is_written_as_json_markdown_and_plots(report, tmp_path):
    write(report, tmp_path)
    assert json.loads((tmp_path / "grow.json").read_text()) == json.loads(json.dumps(report))
    text = (tmp_path / "grow.md").read_text()
    assert text == markdown(report) + "\n"
    assert "From 300 to 600 ads, 2 times more: beam p50 x 1.00" in text
    for size in report["sizes"]:
        assert f"{size['ads']:,} ads: {size['bench']['in_words']}" in text
    assert (tmp_path / "growth.svg").read_text().startswith("<?xml")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
