"""Growth over two tiny worlds."""

import argparse
import shutil
from dataclasses import replace

import pytest

from loadtest.demo.steps import DemoError
from loadtest.growth import grow
from loadtest.growth.report import markdown
from tests.loadtest.conftest import TINY
from tests.loadtest.growth.conftest import COPY


def test_growth_reports_what_each_size_took_and_how_costs_grow(report):
    assert [size["ads"] for size in report["sizes"]] == [300, 600]
    steps = report["sizes"][0]["steps"]
    assert set(steps) == {"data", "run", "bundle", "run_dot", "bundle_dot", "opening", "bench"}
    for step in steps.values():
        assert step["seconds"] > 0
        assert 1 << 24 < step["peak_bytes"] < 1 << 33
    assert "--over-arch dot" in steps["run_dot"]["command"]
    [growth] = report["growth"]
    assert (growth["from"], growth["to"], growth["ads"]) == (300, 600, 2.0)
    assert growth["beam_p50_ms"] == growth["exhaustive_p50_ms"] == 1.0  # the same figures twice


def test_finished_sizes_are_kept(doubled, report, capfd):
    assert grow.grow(doubled, [TINY, COPY]) == report
    printed = capfd.readouterr().out
    assert "exists already" in printed
    assert "python -m" not in printed


def test_a_size_without_baselines_needs_no_two_towers(doubled, report, tmp_path):
    alone = replace(TINY, baselines=False)
    kept = shutil.copytree(doubled / "300_ads", tmp_path / "300_ads")
    for name in ("run_dot", "bundle_dot"):
        shutil.rmtree(kept / name)
    (kept / "bench.json").unlink()
    found = grow.grow(tmp_path, [alone])
    assert "--no-rivals" in found["sizes"][0]["steps"]["bench"]["command"]
    assert not found["sizes"][0]["bench"]["graph"]
    assert "300 ads: " in markdown(found)
    assert not (kept / "run_dot").exists()


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
