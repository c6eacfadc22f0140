"""Alerts: sound rules, a world where each fires, a runbook for each. promtool comes from `make promtool`."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.docker.monitoring import ALERTS, DOCKER

ROOT = DOCKER.parent
WORLDS = [Path(__file__).parent / name for name in ("alerts_test.yml", "alerts_of_hours_test.yml")]
RUNBOOKS = (ROOT / "docs" / "operations.md").read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]


def promtool(*arguments):
    """Runs promtool to its end; skips where no package manager could have brought it."""
    program = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{ROOT / '.venv/bin'}") or \
        shutil.which("promtool")
    if program is None and shutil.which("apt-get") is None:
        pytest.skip("promtool is not installed, and there is no apt-get to install it with")
    assert program, "promtool is not there: run `make promtool`"
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def firing(world):
    """Names of the alerts that a world of WORLDS expects to fire."""
    by_rule = {test["alertname"] for test in world.get("alert_rule_test", []) if test["exp_alerts"]}
    by_query = {name for test in world.get("promql_expr_test", []) for sample in test["exp_samples"]
                for name in re.findall(r'alertname="(\w+)", alertstate="firing"', sample["labels"])}
    return by_rule | by_query


def test_rules_are_sound_when_promtool_reads_them():
    promtool("check", "rules", DOCKER / "prometheus" / "rules.yml")


def test_alerts_fire_in_their_scenarios_only_when_promtool_runs_them():
    promtool("test", "rules", *WORLDS)


def test_every_alert_has_a_scenario_in_which_it_fires_and_one_in_which_it_does_not():
    fired = [firing(world) for file in WORLDS for world in yaml.safe_load(file.read_text())["tests"]]
    assert set().union(*fired) == set(ALERTS)
    assert set() in fired


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus.host.yml"])
def test_configuration_is_sound_and_both_networks_share_it_when_promtool_reads_it(name, tmp_path):
    text = (DOCKER / "prometheus" / name).read_text()
    here = text.replace("/etc/prometheus/rules.yml", str(DOCKER / "prometheus" / "rules.yml"))
    (tmp_path / name).write_text(here)
    promtool("check", "config", tmp_path / name)
    config, other = (yaml.safe_load((DOCKER / "prometheus" / file).read_text())
                     for file in ("prometheus.yml", "prometheus.host.yml"))
    assert [job.pop("job_name") for job in config.pop("scrape_configs")] == \
           [job.pop("job_name") for job in other.pop("scrape_configs")]
    assert config == other


def test_every_alert_has_its_runbook_when_docs_are_read():
    assert set(re.findall(r"(?m)^### (\w+)$", RUNBOOKS)) == set(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
        assert {"summary", "description"} < set(rule["annotations"])
        assert rule["labels"]["severity"] in ("page", "ticket")
