"""Traces at the entrance: nothing of OpenTelemetry where they are off, and no start without it where they are on.

What the entrance tells of a call is seen in tests/service/telemetry/test_tracing.py.
"""

import os

import pytest

from tests.service.service_process import ServiceProcess, command_line

_FINDER = """
import sys


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == {root!r} or name.startswith({root!r} + "."):
            with open({asked!r}, "a") as file:
                file.write(name + "\\n")
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Finder)
"""


@pytest.fixture
def hidden(tmp_path):
    """Hides a package from processes: gives their environment, and the file that tells which of its modules they asked
    for."""
    def hide(root):
        asked = tmp_path / "asked"
        (tmp_path / "sitecustomize.py").write_text(_FINDER.format(root=root, asked=str(asked)))
        return {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}, asked

    return hide


def test_service_neither_needs_nor_imports_opentelemetry_when_traces_are_off(hidden, tiny_bundle):
    environment, asked = hidden("opentelemetry")
    with ServiceProcess(tiny_bundle, RETRIEVAL_WRITE_TOKEN="writer", **environment) as process:
        reply = process.http.post("/retrieve", json={"user_id": "user-01"},
                                  headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
        assert (reply.status_code, "traceresponse" in reply.headers) == (200, False)
        assert process.http.patch("/ads/ad-0001", json={"status": "paused"},
                                  headers={"authorization": "Bearer writer"}).status_code == 409
        assert "trace_id" not in process.wait_for_event("request")
        process.stop()
    assert not asked.exists(), asked.read_text()


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.exporter"])
def test_service_does_not_start_when_traces_are_on_and_the_extra_is_missing(hidden, tiny_bundle, missing):
    environment, asked = hidden(missing)
    done = command_line(tiny_bundle, RETRIEVAL_TRACES="true", **environment)
    assert done.returncode == 2
    assert done.stderr == (
        "error: RETRIEVAL_TRACES 'true' cannot be used: Value error, spans are exported by OpenTelemetry, and "
        "opentelemetry-exporter-otlp-proto-http is not installed; install the extra `trace`, or set it to false; see "
        "docs/operations.md\n")
    assert asked.read_text().startswith(missing)


def test_service_does_not_start_and_names_the_variable_when_opentelemetry_refuses_it(tiny_bundle):
    done = command_line(tiny_bundle, RETRIEVAL_TRACES="true", RETRIEVAL_PORT="0", OTEL_BSP_SCHEDULE_DELAY="0")
    assert done.returncode == 1
    assert "schedule_delay_millis must be positive" in done.stderr
