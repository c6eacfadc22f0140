"""Thousands of requests that the OpenAPI document allows or forbids, admin calls with the token among them."""

from __future__ import annotations

from loadtest.chaos.result import Result
from loadtest.chaos.site import FIRST, Site
from loadtest.http.fuzz import fuzz
from loadtest.processes.service_process import TOKEN

_CASES = 5_000


def schema(site: Site) -> list[Result]:
    """No reply may be a 5xx or other than documented. Its short form is tests/service/test_schema.py."""
    replica = site.replica(site.store(FIRST))
    found = fuzz(replica.url, _CASES, TOKEN)
    replica.stop()
    problems = [f"{found.failed} of {found.cases} replies were wrong: {found.output}"] if found.failed else []
    return [Result("schema", {}, {"cases": found.cases, "failed": found.failed, "seconds": round(found.seconds)},
                   problems)]
