"""The Markdown report of all scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.chaos.result import Result

_COLUMNS = {"requests": "requests", "failed": "failed", "failed_first": "failed at first", "wrong": "wrong",
            "degraded": "degraded", "p50_ms": "p50 ms", "p99_ms": "p99 ms", "max_ms": "max ms",
            "lag_p99_ms": "sent late p99 ms"}


def markdown(results: Sequence[Result]) -> str:
    """A table of all phases, then the facts of each scenario and the guarantees that it found broken."""
    lines = [f"| scenario | phase | {' | '.join(_COLUMNS.values())} |", "|---" * (2 + len(_COLUMNS)) + "|"]
    lines += [f"| {result.scenario} | {phase} | {' | '.join(str(row.get(name, '')) for name in _COLUMNS)} |"
              for result in results for phase, row in result.phases.items()]
    lines.append("")
    for result in results:
        facts = ", ".join(f"{name} {_shown(value)}" for name, value in result.facts.items())
        lines.append(f"- **{result.scenario}**: {facts}")
        lines += [f"  - BROKEN: {problem}" for problem in result.problems]
    return "\n".join(lines) + "\n"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name}: {_shown(entry)}" for name, entry in value.items()) + ")"
    return "none" if value is None else str(value)
