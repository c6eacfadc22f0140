"""The fuzzing scenario; that no reply is wrong is tested in tests/service/http/test_schema.py."""

import json
import urllib.request

from loadtest.chaos import schema
from loadtest.http.fuzz import FuzzResult
from loadtest.processes.service_process import TOKEN


def test_wrong_replies_are_a_problem(testbed, monkeypatch):
    asked = []

    def fuzz(url, cases, token):
        with urllib.request.urlopen(f"{url}/livez", timeout=10) as reply:
            asked.append((json.load(reply)["status"], token))
        return FuzzResult(cases, 2, 1.0, "see here")

    monkeypatch.setattr(schema, "fuzz", fuzz)
    [result] = schema.schema(testbed)
    assert asked == [("alive", TOKEN)]
    assert result.problems == ["2 of 5000 replies were wrong: see here"]
    assert result.facts == {"cases": 5000, "failed": 2, "seconds": 1}
