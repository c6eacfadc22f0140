"""`loadtest shadow` with real services: what it reports, and when it cannot."""

import argparse
import json

import numpy as np
import pytest

from loadtest.http import shadow
from loadtest.http.shadow import Half, report_of, table
from tests.service.bundle_store import BundleStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return BundleStore.write(tmp_path_factory.mktemp("shadowed") / "bundles")


def run(capsys, *arguments):
    """Exit status and all that was printed."""
    parser = argparse.ArgumentParser()
    shadow.add_arguments(parser)
    status = shadow.run(parser.parse_args([str(argument) for argument in arguments]))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_both_services_are_measured_at_the_same_time(store, capsys, monkeypatch):
    monkeypatch.setattr("loadtest.http.report.MOST_LAG_MS", np.inf)
    status, out, err = run(capsys, "--bundle", store.folder / "red", "--shadow", store.folder / "green", "--rate", 20,
                           "--seconds", 1, "--rounds", 2, "--share", 0.5)
    assert status == 0, err
    report = json.loads(out.splitlines()[-1])
    assert len(report["rounds"]) == 2
    assert report["shadow_core"] > 0
    assert report["compared_a_second"] > 0
    assert report["failed"] == [0, 0]
    assert "added p50" in out
    assert not (store.folder / "trials").exists()


def test_reason_is_said_when_the_shadow_is_no_bundle(store, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status, _, err = run(capsys, "--bundle", store.folder / "red", "--shadow", tmp_path / "empty", "--rate", 20,
                         "--seconds", 1, "--rounds", 1)
    assert status == 1
    assert "bundle_refused" in err


def half(p50, cpu_seconds=0.0, compared=0, reported=True):
    return Half({"reported": reported, "latency_ms": {"p50": p50, "p99": 10 * p50}, "statuses": {"200": 9, "503": 1}},
                cpu_seconds, compared)


def test_figures_are_medians_over_the_rounds_that_were_sent_in_time():
    rounds = [(half(2.0), half(2.2, 1.0, 50)), (half(4.0), half(4.0, 2.0, 30)), (half(2.0), half(2.4, 3.0, 40)),
              (half(1.0), half(9.0, reported=False))]
    report = report_of(rounds, 100.0, 10.0)
    assert (report["left_out"], len(report["rounds"]), report["failed"]) == (1, 3, [3, 3])
    assert report["p50_ms"] == [2.0, 2.4]
    assert report["added_p50"] == pytest.approx(0.1)
    assert report["added_p50_span"] == pytest.approx([0.0, 0.2])
    assert (report["shadow_core"], report["compared_a_second"]) == (0.2, 4.0)
    assert "10.0% (rounds: 0.0% to 20.0%)" in table(report)


def test_nothing_is_said_but_the_lag_when_no_round_was_sent_in_time():
    report = report_of([(half(1.0), half(2.0, reported=False))], 100.0, 10.0)
    assert report["rounds"] == []
    assert "1 left out" in table(report)
