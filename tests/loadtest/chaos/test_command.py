"""`python -m loadtest chaos`: its arguments, its report and its exit status."""

import argparse
import json

import pytest

from loadtest.chaos import command
from loadtest.chaos.result import judged
from loadtest.chaos.scenarios import DEFAULT
from tests.loadtest.chaos.outcomes import outcome


def parsed(*arguments):
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


def test_scenarios_are_chosen_by_name():
    assert tuple(parsed("--out", "x").only) == DEFAULT
    assert list(parsed("--out", "x", "--only", "swaps,soak").only) == ["swaps", "soak"]
    with pytest.raises(argparse.ArgumentError, match="'flood' is not a scenario; choose from redis,"):
        parsed("--out", "x", "--only", "flood")


def test_one_bundle_alone_is_refused(tmp_path, capsys):
    assert command.run(parsed("--out", tmp_path, "--bundle", tmp_path)) == 1
    assert "--bundle and --other belong together" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1)])
def test_report_is_written_and_a_broken_guarantee_fails_the_command(two_bundles, tmp_path, monkeypatch, capsys, status,
                                                                    exit_status):
    def planted(testbed):
        assert testbed.scale.rate == 7
        return [judged("planted", {"during": [outcome(), outcome(status=status)]}, {})]

    monkeypatch.setitem(command.SCENARIOS, "planted", planted)
    first, second = two_bundles
    args = parsed("--out", tmp_path / "out", "--bundle", first, "--other", second, "--only", "planted", "--rate", 7)
    assert command.run(args) == exit_status
    printed = capsys.readouterr()
    report = json.loads(printed.out.splitlines()[-1])
    assert json.loads((tmp_path / "out/planted.json").read_text()) == report
    assert (tmp_path / "out/planted.md").read_text() in printed.out
    assert [result["scenario"] for result in report["scenarios"]] == ["planted"]
    assert ("all guarantees held" in printed.err) == (exit_status == 0)
