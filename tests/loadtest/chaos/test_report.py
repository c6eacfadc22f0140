"""The Markdown report of scenarios."""

from loadtest.chaos.report import markdown
from loadtest.chaos.result import judged
from tests.loadtest.chaos.outcomes import outcome


def test_report_has_a_row_per_phase_the_facts_and_what_broke():
    text = markdown([judged("redis killed", {"before": [outcome(ms=2.0)], "during": [outcome(status=503)]},
                            {"hit_share": {"before": 0.5}, "first_hit_s": None})])
    lines = text.splitlines()
    assert lines[0].startswith("| scenario | phase | requests | failed | failed at first |")
    assert lines[2].startswith("| redis killed | before | 1 | 0 | 0 | 0 | 0 | 2.0 | 2.0 | 2.0 |")
    assert lines[3].startswith("| redis killed | during | 1 | 1 | 1 |")
    assert "- **redis killed**: hit_share (before: 0.5), first_hit_s none, load_average " in text
    assert "  - BROKEN: 1 of 1 requests failed during: {'503': 1}" in text
