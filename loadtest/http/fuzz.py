"""`python -m loadtest fuzz`: valid and invalid requests generated from a running service's OpenAPI document.

    python -m loadtest fuzz --url http://127.0.0.1:8080 --cases 5000

The exit status is 1 if a reply is a 5xx or is not documented, or if a request that the document forbids is accepted.
The document is first refined with the fields of the served bundle, since hardly any request would get past their names
otherwise. A request that it allows may still be refused: limits, vocabularies and the tree are not part of it. With a
token in RETRIEVAL_ADMIN_TOKEN, which has to be the service's other tokens too, the calls about bundles, ads, users and
events are tested as well, so use a service of its own. Without it, RETRIEVAL_READ_TOKEN is sent. Needs schemathesis.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.http.tokens import ADMIN, READ, bearer, token_of

_CASES_OF_AN_EXAMPLE = 8
"""Cases that schemathesis generates per example and operation, besides some 1,500 that do not depend on it."""

_LOAD_SECONDS = 120
"""Longest wait for a reply: loading a bundle is answered once it was checked and every worker serves it."""

_Schema = dict[str, Any]
_TEXT: _Schema = {"type": ["string", "integer"]}
_VALUES: dict[str, _Schema] = {
    "dense": {"type": ["number", "null"]}, "categorical": {"type": ["string", "integer", "null"]},
    "multi": {"type": ["array", "null"], "items": _TEXT},
    "location": {"type": ["object", "null"], "required": ["lat", "lon"], "additionalProperties": False, "properties": {
        "lat": {"type": "number", "minimum": -90, "maximum": 90},
        "lon": {"type": "number", "minimum": -180, "maximum": 180}}}}


class FuzzError(Exception):
    """The service cannot be tested; the message says why and what to do."""


@dataclass(frozen=True)
class FuzzResult:
    """The result: cases sent, those with a wrong reply, and the output of schemathesis."""

    cases: int
    failed: int
    seconds: float
    output: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of the command on its parser."""
    parser.add_argument("--url", required=True, help="the running service, such as http://127.0.0.1:8080")
    parser.add_argument("--cases", type=int, default=5_000, help="fewest requests to send (default %(default)s)")
    parser.add_argument("--seed", type=int, help="of the requests, as the output of an earlier run names it")


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 fine, 1 a reply was wrong or the service cannot be reached. The last line is JSON."""
    try:
        found = fuzz(args.url, args.cases, token_of(ADMIN), token_of(READ), args.seed)
    except FuzzError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(found.output)
    print(json.dumps({name: value for name, value in asdict(found).items() if name != "output"},
                     allow_nan=False))
    return 1 if found.failed else 0


def fuzz(url: str, cases: int, token: str | None = None, read_token: str | None = None,
         seed: int | None = None) -> FuzzResult:
    """Sends requests until there are enough, or until some fail.

    Args:
        url: of a running service.
        cases: least number of requests.
        token: for all calls; without one those about bundles, ads, users and events are left out.
        read_token: for the others then; None if they need none.
        seed: of the requests; None draws one.

    Raises:
        FuzzError: the service cannot be reached, or schemathesis is missing.
    """
    document = refined(_get(f"{url}/openapi.json"), _get(f"{url}/info"))
    start, done, failed, output = time.perf_counter(), 0, 0, ""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "openapi.json").write_text(json.dumps(document))
        while done < cases and not failed:
            output, report = _schemathesis(url, Path(folder), 1 + (cases - done) // _CASES_OF_AN_EXAMPLE, token,
                                           read_token, seed)
            done += report["test_cases"]["generated"]
            failed += report["test_cases"]["with_failures"] + report["test_cases"]["errored"]
    return FuzzResult(done, failed, time.perf_counter() - start, output)


def refined(document: _Schema, info: _Schema) -> _Schema:
    """An OpenAPI document with the fields of the bundle, no stricter than the service: it should refuse what this does.

    Args:
        document: of the service.
        info: the reply to GET /info.
    """
    features = {name: _VALUES[kind] for name, kind in info["user_features"].items()}
    features["history"] = {"type": "array", "items": _TEXT}
    context = {name: _VALUES[kind] for name, kind in info["context"].items()}
    weights = {task: {"type": "number", "minimum": 0, "maximum": 1_000_000} for task in info["tasks"]}
    clauses = [_clause(name, kind) for name, kind in info["ad_features"].items()] + [_clause("ad_id", "categorical")]
    some = {"type": "array", "items": {"anyOf": clauses}}
    connectives = [_object({name: what}, name) for name, what in
                   (("all", some), ("any", some), ("not", {"anyOf": clauses}))]
    for path in ("/retrieve", "/retrieve:batch", "/explain"):
        (content,) = document["paths"][path]["post"]["requestBody"]["content"].values()
        content["schema"]["properties"] |= {
            "user_features": _object(features), "context": _object(context), "task_weights": _object(weights),
            "targeting": {"anyOf": [*clauses, *connectives]}}
        content["schema"]["required"] = [*content["schema"].get("required", []), "user_id"]  # or most would be refused
    return document


def _clause(name: str, kind: str) -> _Schema:
    field = {"field": {"const": name}}
    if kind == "dense":
        number = {"type": "number"}
        return _object(field | {"at_least": number, "at_most": number}, "field")
    return _object(field | {"in": {"type": "array", "items": _TEXT}}, "field", "in")


def _object(properties: _Schema, *required: str) -> _Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False, "required": list(required)}


def _schemathesis(url: str, folder: Path, examples: int, token: str | None,
                  read_token: str | None, seed: int | None) -> tuple[str, _Schema]:
    program, report = Path(sysconfig.get_path("scripts")) / "schemathesis", folder / "report.json"
    report.unlink(missing_ok=True)
    command = [program, "run", folder / "openapi.json", "--url", url, "--max-examples", examples,
               # A deleted ad is still told of: GET /ads/{ad_id} says that it is deleted.
               "--exclude-checks", "positive_data_acceptance,use_after_free", "--continue-on-failure",
               "--request-timeout", _LOAD_SECONDS,
               "--report", "json", "--report-json-path", report, *(() if seed is None else ("--seed", seed))]
    if token is None:
        command += ["--exclude-path-regex", "^/(admin/|ads|users|events|changes)"]
    for name, value in bearer(token or read_token).items():
        command += ["--header", f"{name}: {value}"]
    try:
        done = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False)
        return done.stdout, json.loads(report.read_text())
    except FileNotFoundError as error:
        missing = program if error.filename == str(program) else report
        raise FuzzError(f"{missing} is missing; install the `load` extra, which has schemathesis") from error


def _get(url: str) -> _Schema:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            found: _Schema = json.load(reply)
            return found
    except (OSError, ValueError) as error:
        raise FuzzError(f"{url} cannot be read ({error}); start the service there: python -m service BUNDLE") from error
