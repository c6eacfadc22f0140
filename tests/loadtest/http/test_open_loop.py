"""`loadtest http` against a real service: what it sends, what it reports, and when it refuses to."""

import argparse
import json
import socket
import threading

import numpy as np
import pyarrow as pa
import pytest

from loadtest.http import open_loop
from loadtest.http.client import drive
from tests.model.data.logs import as_spark
from tests.service.service_process import ServiceProcess

TOKEN = "a token of those who ask for ads"


@pytest.fixture(scope="module")
def service(tiny_bundle):
    """A service that answers only those who bear its token."""
    with ServiceProcess(tiny_bundle, RETRIEVAL_READ_TOKEN=TOKEN) as process:
        yield process


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("RETRIEVAL_READ_TOKEN", TOKEN)


@pytest.fixture
def patient(monkeypatch):
    """Reports however late a busy test machine lets requests leave."""
    monkeypatch.setattr("loadtest.http.report.MOST_LAG_MS", np.inf)


def run(capsys, *arguments):
    """Exit status, the JSON of the last line and all that was printed."""
    parser = argparse.ArgumentParser()
    open_loop.add_arguments(parser)
    status = open_loop.run(parser.parse_args([str(argument) for argument in arguments]))
    printed = capsys.readouterr()
    last = printed.out.splitlines()[-1] if printed.out else "null"
    return status, json.loads(last), printed.out + printed.err


def asked(process):
    return sum(n for name, n in process.metrics().items()
               if name.startswith("retrieval_requests_total") and "/retrieve" in name)


def test_each_rate_has_its_figures_when_all_is_well(tiny_bundle, service, patient, capsys):
    before = asked(service)
    status, report, printed = run(capsys, "--url", service.http.base_url, "--bundle", tiny_bundle, "--rates", "40,80",
                                  "--seconds", "1", "--pid", service.process.pid)
    assert status == 0
    assert [row["rate"] for row in report["rates"]] == [40, 80]
    assert [row["sent"] for row in report["rates"]] == [40, 80]
    assert asked(service) - before == 40 + 40 + 80  # a second of warming up comes first
    for row in report["rates"]:
        assert row["statuses"] == {"200": row["sent"]}
        assert row["goodput"] == row["sent"]
        assert row["cpu_ms"] > 0
        assert row["latency_ms"]["p50"] >= row["server_ms"]["p50"] > 0
        assert row["stages_ms"]["total"] >= row["server_ms"]["p50"]  # a mean of the middle two, and the lower of them
        assert row["server_ms"]["p50"] <= row["server_ms"]["p99"] <= row["server_ms"]["p99.9"]
        assert {"total", "queue", "features", "cache", "user_tower", "search", "scorer", "level_1",
                "level_3"} <= set(row["stages_ms"])
    assert "goodput" in printed


def test_refusals_are_no_goodput_when_requests_are_unfit(tiny_bundle, service, patient, capsys):
    status, report, printed = run(capsys, "--url", service.http.base_url, "--bundle", tiny_bundle, "--rates", "50",
                                  "--seconds", "0.5", "--even", "--body", '{"beam_width": 0}')
    (row,) = report["rates"]
    assert status == 0
    assert row["goodput"] == 0
    assert row["statuses"] == {"422": 25}
    assert row["errors"] == {"invalid_value": 25}
    assert "25 invalid_value" in printed


def test_refusals_are_told_when_the_token_is_missing(tiny_bundle, service, patient, capsys, monkeypatch):
    monkeypatch.delenv("RETRIEVAL_READ_TOKEN")
    _, report, _ = run(capsys, "--url", service.http.base_url, "--bundle", tiny_bundle, "--rates", "20", "--seconds",
                       "0.5")
    assert report["rates"][0]["errors"] == {"unauthorized": 10}


def test_deadline_travels_with_each_request_when_one_is_given(tiny_bundle, service, patient, capsys):
    _, report, _ = run(capsys, "--url", service.http.base_url, "--bundle", tiny_bundle, "--rates", "20", "--seconds",
                       "0.5", "--timeout-ms", "1")
    assert report["rates"][0]["errors"] == {"invalid_value": 10}  # below the service's floor


def test_rates_double_until_the_goodput_stays_when_saturation_is_sought(tiny_bundle, service, patient, capsys):
    _, report, _ = run(capsys, "--url", service.http.base_url, "--bundle", tiny_bundle, "--rates", "20", "--seconds",
                       "0.5", "--find-saturation", "--body", '{"top_k": 0}')
    assert [row["rate"] for row in report["rates"]] == [20, 40]  # nothing is good, so nothing grows


def test_services_get_the_same_requests_in_turns_when_several_are_compared(tiny_bundle, service, patient, capsys,
                                                                          monkeypatch):
    turns = []

    def noted(addresses, arrivals, connections):
        arrivals = list(arrivals)
        turns.append((addresses[0], [request.partition(b"\r\n\r\n")[2] for _, request in arrivals]))
        return drive(addresses, arrivals, connections)

    monkeypatch.setattr(open_loop, "drive", noted)
    with ServiceProcess(tiny_bundle, RETRIEVAL_READ_TOKEN=TOKEN) as other:
        status, report, printed = run(
            capsys, "--url", service.http.base_url, "--pid", service.process.pid, "--url", other.http.base_url, "--pid",
            other.process.pid, "--bundle", tiny_bundle, "--rates", "40,40,60", "--seconds", "1")
        assert status == 0
        one, two = service.address, other.address
        assert [address for address, _ in turns] == [one, two, one, two, two, one, one, two]
        for first, second in zip(turns[::2], turns[1::2], strict=True):
            assert first[1] == second[1]
    assert [[row["rate"] for row in each["rates"]] for each in report["services"]] == [[40, 40, 60]] * 2
    assert [(row["url"], row["rate"], row["runs"]) for row in report["medians"]] == [
        (str(process.http.base_url), rate, runs) for rate, runs in ((40, 2), (60, 1)) for process in (service, other)]
    assert all(row["cpu_ms"] > 0 for row in report["medians"])
    assert "ratios to the first service" in printed


def test_rate_is_not_reported_when_the_sending_lags(tiny_bundle, service, capsys):
    status, report, printed = run(capsys, "--url", service.http.base_url, "--bundle", tiny_bundle, "--rates", "200000",
                                  "--seconds", "0.005")
    assert status == open_loop.LAGGED
    assert set(report["rates"][0]) == {"rate", "sent", "lag_ms", "reported"}
    assert "not reported: the load generator lagged" in printed


@pytest.mark.parametrize(("arguments", "said"), [
    (["--url", "https://127.0.0.1", "--bundle", "B"], "'https://127.0.0.1'"),
    (["--url", "http://127.0.0.1:x", "--bundle", "B"], "http://127.0.0.1:x"),
    (["--url", "http://127.0.0.1:1", "--bundle", "B"], "start the service"),
    (["--url", "http://127.0.0.1:1", "--bundle", "/nowhere"], "/nowhere"),
    (["--url", "http://127.0.0.1:1", "--data", "/nowhere"], "/nowhere"),
    (["--url", "http://127.0.0.1:1", "--bundle", "B", "--rates", "1e9"], "at most 500000"),
    (["--url", "http://127.0.0.1:1", "--url", "http://127.0.0.1:2", "--pid", "1", "--bundle", "B"], "2 x --url and 1"),
    (["--url", "http://127.0.0.1:1", "--url", "http://127.0.0.1:2", "--find-saturation", "--bundle", "B"],
     "--find-saturation and 2 x --url")])
def test_error_is_named_when_the_load_cannot_be_made(tiny_bundle, capsys, arguments, said):
    status, _, printed = run(capsys, *[tiny_bundle if argument == "B" else argument for argument in arguments])
    assert status == open_loop.CANNOT
    assert printed.startswith("error: ")
    assert said in printed


def test_request_counts_as_unanswered_when_the_other_side_hangs_up(tiny_bundle, patient, capsys):
    with socket.create_server(("127.0.0.1", 0)) as rude:
        def hang_up():
            while True:
                try:
                    rude.accept()[0].close()
                except OSError:
                    return
        threading.Thread(target=hang_up, daemon=True).start()
        status, report, _ = run(capsys, "--url", f"http://127.0.0.1:{rude.getsockname()[1]}", "--bundle", tiny_bundle,
                                "--rates", "20", "--seconds", "0.5", "--connections", "4")
        rude.shutdown(socket.SHUT_RDWR)
    assert status == 0
    assert report["rates"][0]["statuses"] == {"0": 10}
    assert report["rates"][0]["goodput"] == 0


def test_users_are_read_when_they_are_numbers_in_a_folder_of_part_files(service, patient, tmp_path, capsys):
    as_spark(pa.table({"user_id": [7, 8, 9]}), tmp_path / "users.parquet", 2)
    status, report, _ = run(capsys, "--url", service.http.base_url, "--data", tmp_path, "--rates", "20", "--seconds",
                            "0.5")
    assert status == 0
    assert report["rates"][0]["statuses"] == {"200": 10}


def test_row_is_named_when_a_user_has_no_id(tmp_path, capsys):
    as_spark(pa.table({"user_id": ["a", None]}), tmp_path / "users.parquet", 1)
    status, _, printed = run(capsys, "--url", "http://127.0.0.1:1", "--data", tmp_path)
    assert status == open_loop.CANNOT
    assert "column 'user_id', row 1: value None is null" in printed
