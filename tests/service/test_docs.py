"""The docs have a row for every setting, error, metric, field and event, and none for what does not exist."""

import re

from prometheus_client import REGISTRY

from service.contract.errors import STATUS
from service.contract.schemas import RetrieveReply, RetrieveRequest
from service.settings import Settings, variable
from service.telemetry import metrics  # noqa: F401  (registers the metrics)
from tests.service.service_process import ROOT


def section(page, title):
    """Rows of the first table of a section: lists of cells, the backquotes removed."""
    text = (ROOT / "docs" / page).read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
            for line in text.splitlines() if line.startswith("| `")]


def test_every_setting_has_its_row_with_its_default_when_docs_are_read():
    def shown(default):
        return "none" if default is None else str(default).lower() if isinstance(default, bool) else str(default)

    expected = {variable(name): shown(field.default) for name, field in Settings.model_fields.items()}
    assert {name: default for name, default, _ in section("operations.md", "Settings")} == expected


def test_every_error_has_its_row_with_its_status_when_docs_are_read():
    assert {name: int(status) for name, status, _ in section("operations.md", "Errors")} == STATUS


def documented_metrics():
    """Names of the metrics that have a row."""
    return {cells[0] for cells in section("operations.md", "Metrics")}


def test_every_metric_has_its_row_with_its_labels_when_docs_are_read():
    expected = {}
    for collector in set(REGISTRY._names_to_collectors.values()):
        for family in collector.collect():
            if family.name.startswith("retrieval_"):
                name = family.name + ("_total" if family.type == "counter" else "")
                expected[name] = ", ".join(collector._labelnames)
    assert {name: labels for name, labels, _ in section("operations.md", "Metrics")} == expected


def test_every_field_has_its_row_when_docs_are_read():
    fields = {cells[0] for cells in section("service.md", "A request")}
    assert fields == set(RetrieveRequest.model_fields) | set(RetrieveReply.model_fields)


def test_every_event_has_its_row_when_docs_are_read():
    documented = {name for cells in section("service.md", "The log") for name in cells[0].split(", ")}
    sources = "".join(path.read_text() for path in (ROOT / "service").rglob("*.py"))
    assert documented == set(re.findall(r'\blog\("(\w+)"', sources))
