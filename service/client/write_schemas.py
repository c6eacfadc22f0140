"""Writes monn_hill/schemas.py, the types of requests and replies, from docs/openapi.json; `make schemas` runs it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent.parent / "docs" / "openapi.json"
_NOT_CALLED = ("/admin/", "/changes")
_HEADER = "# Types of requests and replies, made from docs/openapi.json by `make schemas`: do not edit."


def main(words: Sequence[str]) -> int:
    """Writes the module, or the file that is named; the exit status is that of datamodel-code-generator."""
    output = words[0] if words else str(HERE / "monn_hill" / "schemas.py")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as document:
        json.dump(named(json.loads(DOCUMENT.read_text())), document)
        document.flush()
        return subprocess.run(
            [sys.executable, "-m", "datamodel_code_generator", "--input", document.name, "--input-file-type", "openapi",
             "--output", output, "--output-model-type", "typing.TypedDict", "--target-python-version", "3.11",
             "--formatters", "builtin", "--use-field-description", "--use-schema-description",
             "--use-single-line-docstring", "--use-double-quotes", "--disable-future-imports",
             "--custom-file-header", _HEADER], check=False).returncode


def named(document: dict[str, Any]) -> dict[str, Any]:
    """The schemas of the calls that the client makes, bodies of requests among them, each under its name.

    Without the titles of fields, which would become names of types, and without `additionalProperties: false`: a reply
    of a later version may hold more.
    """
    calls = [operation for path, operations in document["paths"].items() if not path.startswith(_NOT_CALLED)
             for operation in operations.values()]
    components = document["components"]["schemas"]
    found: dict[str, Any] = {}
    for operation in calls:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            found[content["schema"]["title"]] = content["schema"]
    waiting = [*found.values(), *calls]
    while waiting:
        for name in sorted(_references(waiting.pop()) - found.keys()):
            found[name] = components[name]
            waiting.append(components[name])
    return {"openapi": document["openapi"], "info": document["info"], "paths": {},
            "components": {"schemas": {name: _plain(found[name]) for name in sorted(found)}}}


def _references(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        own = {schema["$ref"].rpartition("/")[2]} if "$ref" in schema else set()
        return own.union(*map(_references, schema.values()))
    return set().union(*map(_references, schema)) if isinstance(schema, list) else set()


def _plain(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: _plain(entry) for name, entry in schema.items()
                if not (name == "title" and isinstance(entry, str))
                and not (name == "additionalProperties" and entry is False)}
    return [_plain(entry) for entry in schema] if isinstance(schema, list) else schema


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
