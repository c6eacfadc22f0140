"""Figures of one rate, from planted exchanges."""

import json

import pytest

from loadtest.http.client import REFUSED, Exchange
from loadtest.http.report import comparison, report_of_rate, side_by_side, table


def answered(at, latency_ms, total_ms, lag_ms=0.0):
    body = {"latency_ms": {"total": total_ms, "scorer": 1.0, "levels": []}, "degraded": ["deadline"], "coverage": 0.5,
            "pairs_scored": 10}
    return Exchange(at, at + lag_ms / 1e3, at + latency_ms / 1e3, 200, json.dumps(body).encode())


def test_latency_counts_from_the_schedule_when_the_request_left_late():
    row = report_of_rate(10, 1.0, [answered(5.0, 30.0, 2.0, lag_ms=1.5) for _ in range(10)], None, 0.05)
    assert row["latency_ms"]["p50"] == pytest.approx(30)
    assert row["lag_ms"]["p99"] == pytest.approx(1.5)
    assert row["cpu_ms"] == pytest.approx(5)
    assert row["cpu_outside_scorer_ms"] == pytest.approx(4)
    assert (row["narrowed"], row["coverage"]) == (1.0, 0.5)


def test_answer_is_not_goodput_when_it_comes_five_milliseconds_after_its_deadline():
    exchanges = [answered(1.0, 24.9, 24.0), answered(1.0, 25.1, 24.0), answered(1.0, 40.0, 26.0)]
    row = report_of_rate(3, 1.0, exchanges, 20.0, None)
    assert row["goodput"] == 1
    assert row["in_time"] == pytest.approx(1 / 3)
    assert row["left_in_time"] == pytest.approx(2 / 3)


def test_errors_are_counted_by_type_and_nothing_is_in_time_when_nothing_replied():
    refusal = Exchange(1.0, 1.0, 1.1, 429, b'{"error_type": "overloaded"}')
    row = report_of_rate(3, 1.0, [refusal, Exchange(1.0, 1.0, 1.1, 500, b"<html>"), Exchange(1.0, 1.0)], None, None)
    assert row["statuses"] == {"0": 1, "429": 1, "500": 1}
    assert row["errors"] == {"overloaded": 1, "not a refusal of this service": 1}
    assert row["goodput"] == 0
    assert report_of_rate(1, 1.0, [Exchange(1.0, 1.0, status=REFUSED)], None, None)["in_time"] is None


def test_table_has_a_line_per_rate_and_says_which_is_not_reported():
    reported = report_of_rate(10, 1.0, [answered(5.0, 30.0, 2.0)], None, None)
    lagged = report_of_rate(99, 1.0, [answered(5.0, 30.0, 2.0, lag_ms=20.0)], None, None)
    text = table({"url": "http://here", "seconds": 1.0, "users": 2, "arrivals": "even", "timeout_ms": None,
                  "rates": [reported, lagged]})
    assert "30.00" in text
    assert "1 x 200" in text
    assert "99  not reported: the load generator lagged, p99 20.0 ms (limit 2 ms)" in text


def test_requests_that_were_never_sent_have_no_lag_in_the_report():
    row = report_of_rate(10, 1.0, [Exchange(5.0), *(answered(5.0, 1.0, 1.0) for _ in range(5))], None, None)
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert row["reported"] is False
    assert row["lag_ms"]["p50"] == pytest.approx(0.0)
    assert row["lag_ms"]["p99"] is None
    printed = table({"url": "u", "seconds": 1, "users": 1, "arrivals": "poisson", "timeout_ms": None, "rates": [row]})
    assert "more than one in a hundred requests were never sent" in printed


def test_medians_stand_beside_those_of_the_first_service():
    def runs(*latencies):
        return [report_of_rate(10, 1.0, [answered(5.0, ms, ms / 2)], None, ms / 1e3) for ms in latencies]

    lagged = report_of_rate(10, 1.0, [answered(5.0, 1.0, 1.0, lag_ms=20.0)], None, None)
    medians = side_by_side([{"url": "http://one", "rates": [*runs(10.0, 30.0, 20.0), lagged]},
                            {"url": "http://two", "rates": [*runs(22.0), lagged]},
                            {"url": "http://three", "rates": [lagged]}])
    assert [row["runs"] for row in medians] == [3, 1, 0]
    assert [row["p50_ms"] for row in medians[:2]] == pytest.approx([20.0, 22.0])
    assert [row["server_p50_ms"] for row in medians[:2]] == pytest.approx([10.0, 11.0])
    assert [row["cpu_ms"] for row in medians[:2]] == pytest.approx([20.0, 22.0])
    assert medians[2]["p50_ms"] is None
    one, two, three = comparison(medians).splitlines()[-3:]
    assert one.split()[2:] == ["20.000", "(1.000)", "10.000", "(1.000)", "20.000", "(1.000)", "http://one"]
    assert two.split()[2:] == ["22.000", "(1.100)", "11.000", "(1.100)", "22.000", "(1.100)", "http://two"]
    assert three.split()[2:] == ["-", "-", "-", "http://three"]
