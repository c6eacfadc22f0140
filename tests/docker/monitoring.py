"""The expressions of the rules and of the dashboard, and the names in them."""

import json
import re

import promql_parser
import yaml

from tests.paths import ROOT

DOCKER = ROOT / "docker"
RULES = [rule for group in yaml.safe_load((DOCKER / "prometheus" / "rules.yml").read_text())["groups"]
         for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "retrieval.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ROWS = {}
"""Panel -> the row that it stands in, by their titles."""
for _panel in DASHBOARD["panels"]:
    if _panel["type"] == "row":
        _row = _panel["title"]
    else:
        ROWS[_panel["title"]] = _row


def expressions():
    """Where it stands -> PromQL; Grafana's variables have values."""
    found = {rule.get("alert") or rule["record"]: rule["expr"] for rule in RULES}
    for panel in PANELS:
        for target in panel["targets"]:
            found[f"panel {panel['title']}, {target['refId']}"] = target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        found[f"annotation {annotation['name']}"] = annotation["expr"]
    values = {"$__rate_interval": "1m", "$instance": ".*"}
    return {place: re.sub(r"\$\w+", lambda match: values[match[0]], text) for place, text in found.items()}


def selectors(expression):
    """Metric name and matchers of each series that an expression selects."""
    found = []

    def note(node):
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node.name, {matcher.name: matcher.value for matcher in node.matchers.matchers}))
        elif isinstance(node, promql_parser.MatrixSelector):
            note(node.vector_selector)

    promql_parser.walk(promql_parser.parse(expression), note)
    return found
