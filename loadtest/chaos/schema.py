"""Fuzzing: thousands of valid and invalid requests from the OpenAPI document, including admin calls."""

from __future__ import annotations

from loadtest.chaos.result import Result
from loadtest.chaos.testbed import FIRST, Testbed
from loadtest.http.fuzz import fuzz
from loadtest.processes.service_process import TOKEN

_CASES = 5_000


def schema(testbed: Testbed) -> list[Result]:
    """No reply may be a 5xx or undocumented. tests/service/http/test_schema.py is the short form."""
    replica = testbed.replica(testbed.store(FIRST))
    found = fuzz(replica.url, _CASES, TOKEN)
    replica.stop()
    problems = [f"{found.failed} of {found.cases} replies were wrong: {found.output}"] if found.failed else []
    return [Result("schema", {}, {"cases": found.cases, "failed": found.failed, "seconds": round(found.seconds)},
                   problems)]
