"""The table of domains from planted results, and made whole on a small world."""

import json
import shutil

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from model.config.errors import ConfigError
from model.data.load import load_dataset
from model.data.tables import EVENTS
from model.experiments.cells import Cell
from model.experiments.domains import SIDES, check, of_domain, report, run
from model.sources import synthetic_days
from tests.model.commands import model


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains") / "data"
    synthetic_days.write(folder, 150, 100, 6_000, 5, 1, 0.05, 2)
    return folder


def test_figures_of_a_side_stand_in_its_row():
    done = [(Cell("domains", slug, {}, 0), {
        "ne": {"all": [0.8 - 0.1 * at, 0.7], "d00": [0.9, 0.8], "d01": [0.95, 0.85]}, "parameters": 1_000 * (1 + at),
        "bundle_bytes": 2**20, "memory_bytes": 3 * 2**20, "bayes_ne": {"all": [0.5, 0.4], "d00": [0.6, 0.5],
                                                                       "d01": [0.55, 0.45]},
        "events": 5_400, "test_events": {"d00": 400, "d01": 200}}) for at, slug in enumerate(SIDES)]
    made = report(done)
    assert f"| {SIDES['context']} | 0.7000 | 0.7000 | 0.900 | 0.950 | 2,000 | 1.0 MiB | 3.0 MiB |" in made.markdown
    assert "| the truth | 0.5000 | 0.4000 | 0.600 | 0.550 |  |  |  |" in made.markdown
    assert "5,400 train impressions, 600 of the day after" in made.markdown
    assert [row["side"] for row in made.data["rows"]] == [*SIDES, "truth"]


def test_the_log_of_a_domain_has_its_events_alone_and_no_domain(world):
    data = load_dataset(world)
    parts = [of_domain(data, number) for number in (1, 2)]
    assert sum(len(part.train) for part in parts) == len(data.train)
    assert sum(len(part.test) for part in parts) == len(data.test)
    assert all(part.train.context is None and not part.spec.model_context for part in parts)
    np.testing.assert_array_equal(parts[1].test.items, data.test.items[data.test.context[:, 0] == 2])


@pytest.mark.long
def test_the_table_is_made_by_its_command(world, tmp_path):
    printed = model("experiment", "domains", "--data", world, "--seeds", 1, "--out", tmp_path, "--small")
    assert (tmp_path / "domains.md").read_text() in printed
    rows = json.loads((tmp_path / "domains.json").read_text())["rows"]
    assert [row["side"] for row in rows] == [*SIDES, "truth"]
    assert rows[2]["bundle_bytes"] > rows[1]["bundle_bytes"] > 0
    assert rows[2]["parameters"] > rows[1]["parameters"] > rows[0]["parameters"]


def test_a_domain_of_the_test_day_that_was_never_learned_is_refused(world, tmp_path):
    shutil.copytree(world, tmp_path / "data")
    table = pq.read_table(world / EVENTS)
    pq.write_table(table.filter(pc.equal(table["domain"], "d00")), tmp_path / "data" / EVENTS)
    with pytest.raises(ConfigError, match="in a domain that no train event is in; write a world with more events"):
        run(Cell("domains", "none", {"side": "none"}, 0), tmp_path / "data", tmp_path / "work")


def test_a_world_without_domains_is_refused(tmp_path, world):
    synthetic_days.write(tmp_path, 50, 50, 1_000, 5, 1, 0.05)
    with pytest.raises(ConfigError, match="is a synthetic world without domains; write one with --days and --domains"):
        check(tmp_path)
    check(world)
