"""`loadtest fuzz`: its requests are tried in tests/service/http/test_schema.py."""

from itertools import pairwise

import pytest

from loadtest.http import fuzz


@pytest.mark.parametrize(("tokens", "header", "all_calls"), [
    ((None, None), None, False), ((None, "reads"), "reads", False), (("admin", "reads"), "admin", True)])
def test_calls_bear_a_token_and_those_without_one_are_left_out(tmp_path, monkeypatch, tokens, header, all_calls):
    commands = []
    monkeypatch.setattr(fuzz.subprocess, "run", lambda command, **_: commands.append(command))
    with pytest.raises(AttributeError):  # it has no output
        fuzz._schemathesis("http://127.0.0.1:9", tmp_path, 1, *tokens, seed=None)
    (command,) = commands
    sent = [value for name, value in pairwise(command) if name == "--header"]
    assert sent == ([] if header is None else [f"Authorization: Bearer {header}"])
    assert ("--exclude-path-regex" in command) != all_calls
