"""Growth over two tiny worlds: one is made for real, the other is a finished copy that is kept."""

import argparse
import json
import shutil
from dataclasses import replace

import pytest

from loadtest.demo.steps import DemoError
from loadtest.growth import grow
from loadtest.growth.report import markdown, write
from tests.loadtest.conftest import TINY

COPY = replace(TINY, world=replace(TINY.world, ads=600))


@pytest.fixture
def doubled(grown, tmp_path):
    """The folder of `grown`, and a copy of its world that passes for one of twice as many ads."""
    for ads in (300, 600):
        shutil.copytree(grown / "300_ads", tmp_path / f"{ads}_ads")
    for file in ("bench.json", "steps.json"):
        copied = tmp_path / "600_ads" / file
        copied.write_text(copied.read_text().replace('"ads": 300', '"ads": 600'))
    return tmp_path


def test_growth_reports_what_each_size_took_and_how_costs_grow(doubled, capfd):
    report = grow.grow(doubled, [TINY, COPY])
    assert "python -m" not in capfd.readouterr().out, "finished sizes are kept"
    assert [size["ads"] for size in report["sizes"]] == [300, 600]
    steps = report["sizes"][0]["steps"]
    assert set(steps) == {"data", "run", "bundle", "run_dot", "bundle_dot", "opening", "bench"}
    for step in steps.values():
        assert step["seconds"] > 0
        assert 1 << 24 < step["peak_bytes"] < 1 << 33
    assert "--over-arch dot" in steps["run_dot"]["command"]
    opening = report["sizes"][0]["opening"]
    assert 0 < opening["interpreter_bytes"] < opening["private_bytes"]
    assert 0 < opening["open_seconds"] < opening["verify_seconds"] + 5
    [growth] = report["growth"]
    assert (growth["from"], growth["to"], growth["ads"]) == (300, 600, 2.0)
    assert growth["beam_p50_ms"] == growth["exhaustive_p50_ms"] == 1.0  # the same figures twice

    write(report, doubled)
    assert json.loads((doubled / "grow.json").read_text()) == json.loads(json.dumps(report))
    assert "From 300 to 600 ads, 2 times more: beam p50 x 1.00" in (doubled / "grow.md").read_text()
    assert markdown(report) + "\n" == (doubled / "grow.md").read_text()
    assert (doubled / "growth.svg").read_text().startswith("<?xml")
    assert (doubled / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_growth_names_the_failing_command_when_a_step_fails(tmp_path):
    with pytest.raises(DemoError, match="--ads 0 "):
        grow.grow(tmp_path, [replace(TINY, world=replace(TINY.world, ads=0))])


def test_sizes_without_settings_are_refused():
    parser = argparse.ArgumentParser(exit_on_error=False)
    grow.add_arguments(parser)
    asked = parser.parse_args(["--out", "x", "--sizes", "10000,1000000"])
    assert [stage.world.ads for stage in asked.sizes] == [10_000, 1_000_000]
    with pytest.raises(argparse.ArgumentError, match="no settings for '5' ads"):
        parser.parse_args(["--out", "x", "--sizes", "5"])
