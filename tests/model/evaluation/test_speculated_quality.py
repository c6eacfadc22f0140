"""From a log to the pairs of a foundation model by the real commands: measured, exported, asked by the service."""

import json
from dataclasses import replace

import pytest

from index_store.bundle.bundle import Bundle
from model.config.errors import ConfigError
from model.evaluation.speculated_quality import COVERAGES, speculated_quality
from model.runs.run import Run
from model.speculation.foundation import model_hash
from service.settings import Settings
from service.speculation.pair_maker import PairMaker
from tests.model.commands import model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data folder, a run and a larger one on it that hold out a fifth."""
    folder = tmp_path_factory.mktemp("speculated")
    model("data", "synthetic", "--ads", 300, "--users", 200, "--events", 4000, "--out", folder / "data")
    for name, size in (("small", "small"), ("large", "medium")):
        model("train", "--data", folder / "data", "--out", folder / name, "--minutes", 0, "--epochs", 1, "--rounds", 1,
              "--branching", "4x5", "--size", size, "--holdout", 0.2)
    return folder


def test_what_pairs_are_worth_is_told_by_coverage(made):
    found = json.loads(model("evaluate", "--run", made / "small", "--foundation", made / "large"))
    assert found["tasks"] == ["click", "conversion"]
    assert list(found["ne_by_coverage"]) == [str(coverage) for coverage in COVERAGES]
    assert found["ne_by_coverage"]["0.0"] == found["ne_user"]
    assert found["ne_by_coverage"]["1.0"] == found["ne_by_coverage_else_nothing"]["1.0"] == found["ne_pair"]
    assert found["ne_by_coverage_else_nothing"]["0.0"] == found["ne_nothing"]
    assert len(found["recall@100"]["by_coverage"]) == len(COVERAGES)
    assert found["test"] > 0


def test_exported_bundles_belong_together_and_the_pairs_are_those_of_torch(made):
    model("export", "--run", made / "large", "--out", made / "foundation", "--as-foundation", "--baselines", "none",
          "--float32")
    model("export", "--run", made / "small", "--out", made / "bundle", "--foundation", made / "large", "--baselines",
          "none", "--float32")
    opened, larger = Bundle.open(made / "bundle"), Run.open(made / "large")
    assert opened.content.speculation.foundation == model_hash(larger.model)
    maker = PairMaker.open(made / "bundle", [made / "foundation"], Settings(), 20, 60)
    pairs = maker.made(opened.content.users.ids[3])
    assert len(pairs.positions) == 20
    assert pairs.codes.any(axis=0).all()
    maker.close()


def test_a_run_without_a_hold_out_besides_its_test_events_is_refused(made):
    run = Run.open(made / "small")
    run.config = replace(run.config, holdout=0.0)
    with pytest.raises(ConfigError, match="has no hold-out besides test events"):
        speculated_quality(run, [run])
