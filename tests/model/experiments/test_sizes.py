"""The size curve from planted results, what the trials choose, and one row from a log."""

import json

import numpy as np
import pytest

from model.choice.measure import Measure, Reached
from model.choice.trial import Pace, Trial
from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.data.load import load_dataset
from model.experiments.cells import Cell
from model.experiments.sizes import ROWS, TRIALS, choice, configurations, report, run, tuned, with_settings
from tests.model.commands import model
from tests.model.experiments.tables import done


def cell(ne, recall, flops, epochs=2):
    served = {"recall@20": recall, "recall@100": 3 * recall, "flops": flops, "ms": 2.0, "overlap@100": 0.9,
              "pairs": [10.0, 90.0]}
    return {"quality": {"ne": {"click": ne}, "recall@20": recall, "recall@100": 3 * recall},
            "served": {"beam": served, "exhaustive": {**served, "flops": 10 * flops if flops else None}},
            "parameters": 1_000, "chosen": {"epochs": epochs, "dropout": 0.4}}


PLANTED = {"small": [cell(0.8, 0.1, 4e6)], "large": [cell(0.72, 0.12, 4e7, 1)], "tiny": [cell(0.9, 0.08, 1e6)]}


def test_rows_are_compared_with_small_and_go_from_the_cheapest_beam_to_the_dearest(tmp_path):
    made = report(done(PLANTED))
    assert [row["slug"] for row in made.data["rows"]] == ["tiny", "small", "large"]
    large = made.data["rows"][-1]
    figures = [large[key]["mean"] for key in ("ne_change", "recall_change", "pairs", "cost", "beam_cost")]
    assert figures == pytest.approx([-10.0, 20.0, 100.0, 400.0, 40.0])
    assert large["chosen"] == [{"epochs": 1, "dropout": 0.4}]
    assert "| Tiny | 0.9000 | +12.50 % |" in made.markdown
    made.draw(tmp_path / "sizes.png")
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")


def test_figures_that_no_test_user_defines_are_left_blank_and_out_of_the_plot(tmp_path):
    undefined = cell(0.8, 0.1, None)
    for served in undefined["served"].values():
        served |= {"recall@20": None, "recall@100": None, "pairs": None, "overlap@100": None}
    made = report(done({"small": [undefined], "stack-large-small": [undefined]}))
    assert {row["recall_change"] for row in made.data["rows"]} == {row["pairs"] for row in made.data["rows"]} == {None}
    made.draw(tmp_path / "sizes.png")


class Planted(Measure):
    """A measure of the values of four users, by which nothing is run."""

    name, users, asked = "planted", np.arange(4), 4

    def __init__(self, sign):
        self.sign = sign

    def of(self, run):
        pytest.fail("nothing is run")


def chosen_from(values, sign=-1):
    """What trials choose whose values of four users are planted, and the settings that were tried."""
    tried = []

    def trial(config):
        tried.append((config.all_epochs, config.model.dropout))
        return Trial(config, Reached(np.array(values[len(tried) - 1])), 1.0, Pace(1, 1.0), [])

    return choice(TrainConfig(), TRIALS, Planted(sign), trial), tried


BASE = [0.5, 0.4, 0.5, 0.4]


@pytest.mark.parametrize(("once", "dropout", "tried", "chosen"), [
    ([0.4, 0.3, 0.4, 0.3], [0.5] * 4, [1, 0.2], {"epochs": 1, "dropout": 0.4}),
    ([0.4, 0.3, 0.4, 0.3], [0.2] * 4, [1, 0.2], {"epochs": 1, "dropout": 0.2}),
    ([0.35, 0.25, 0.35, 0.25], [0.4, 0.3, 0.4, 0.3], [1, 0.2], {"epochs": 1, "dropout": 0.4}),  # better than the first
    ([0.4, 0.3, 0.65, 0.3], [0.5] * 4, [2, 0.2], {"epochs": 2, "dropout": 0.4}),  # better by less than its error
    ([0.6] * 4, [0.3, 0.4, 0.3, 0.4], [2, 0.2], {"epochs": 2, "dropout": 0.2})])
def test_each_trial_has_what_was_best_before_and_must_gain_more_than_its_standard_error(once, dropout, tried, chosen):
    found, settings = chosen_from([BASE, once, dropout])
    assert settings == [(2, 0.4), (1, 0.4), tuple(tried)]
    assert found["chosen"] == chosen
    assert [(trial["epochs"], trial["dropout"]) for trial in found["trials"]] == settings
    best = once if tried[0] == 1 else BASE
    assert found["trials"][1]["gain"] == pytest.approx(0.45 - np.mean(once))
    assert found["trials"][2]["gain"] == pytest.approx(np.mean(best) - np.mean(dropout))
    assert "gain" not in found["trials"][0]


def test_higher_is_better_of_a_measure_that_says_so():
    assert chosen_from([BASE, [0.6] * 4, [0.1] * 4], sign=1)[0]["chosen"] == {"epochs": 1, "dropout": 0.4}


def test_a_stack_keeps_the_dropout_of_the_layer_above():
    stack = TrainConfig.from_json(TrainConfig().to_json() | {"stack": [{"level": 1, "model": {}}]})
    chosen = with_settings(stack, {"epochs": 3, "dropout": 0.1})
    assert (chosen.model.dropout, chosen.stack[0].model.dropout, chosen.all_epochs) == (0.1, 0.4, 3)


def test_a_hold_out_that_defines_nothing_is_told(log):
    dataset = load_dataset(log)
    dataset.train.labels[:] = 0
    with pytest.raises(ConfigError, match="so no settings can be chosen; bring a longer log"):
        tuned(log, dataset, TrainConfig(), TRIALS)


def test_a_row_is_tuned_trained_and_asked_through_its_beam_and_continues_with_what_was_chosen(log, tmp_path):
    (kind, slug, settings), *others = configurations(log, small=True)
    assert [slug, *(other[1] for other in others)] == list(ROWS)
    settings |= {"test_users": 5, "beam_users": 12}
    result = run(Cell(kind, slug, settings, 0), log, tmp_path)
    assert (result["quality"]["users"], result["served"]["beam"]["users"]) == (5, 12)
    assert [(trial["epochs"], trial["dropout"]) for trial in result["trials"]][:2] == [(2, 0.4), (1, 0.4)]
    assert result["chosen"]["epochs"] in (1, 2)
    assert 0 < result["served"]["beam"]["flops"] < result["served"]["exhaustive"]["flops"]
    assert result["parameters"] > 0
    kept = json.loads((tmp_path / "trials.json").read_bytes())
    (tmp_path / "trials.json").write_text(json.dumps(kept | {"trials": ["as they were"]}))
    assert run(Cell(kind, slug, settings, 0), log, tmp_path)["trials"] == ["as they were"]


@pytest.mark.long
def test_the_table_is_made_by_its_command(log, tmp_path):
    printed = model("experiment", "sizes", "--data", log, "--seeds", 1, "--out", tmp_path, "--small")
    assert (tmp_path / "sizes.md").read_text() in printed
    rows = json.loads((tmp_path / "sizes.json").read_text())["rows"]
    assert {row["slug"] for row in rows} == set(ROWS)
    assert {row["slug"]: row["ne_change"]["mean"] for row in rows}["small"] == 0.0
    assert (tmp_path / "sizes.png").read_bytes().startswith(b"\x89PNG")
