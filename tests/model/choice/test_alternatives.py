"""What can be chosen: epochs with at least one tree, and alternatives that change what they name."""

from dataclasses import replace

import pytest

from model.choice.alternatives import ALTERNATIVES, Alternative, chosen_of, with_epochs
from model.config.monn import SIZES
from model.config.train import TrainConfig
from tests.model.tiny_runs import TINY
from tests.model.worlds import impressions, positives


@pytest.mark.parametrize(("epochs", "parts"), [(1, (0, 1)), (2, (1, 1)), (3, (1, 2)), (8, (6, 2))])
def test_epochs_have_two_rounds_where_others_are_left(epochs, parts):
    config = with_epochs(replace(TINY, epochs=9, round_epochs=3), epochs)
    assert (config.epochs, config.rounds, config.round_epochs) == (*parts, 1)
    assert config.all_epochs == epochs


def test_the_default_number_of_epochs_has_the_default_rounds():
    assert with_epochs(TrainConfig(), TrainConfig().all_epochs) == TrainConfig()


@pytest.mark.parametrize("alternative", ALTERNATIVES, ids=lambda alternative: " ".join(alternative.settings))
def test_an_alternative_changes_what_it_names_and_nothing_else(alternative):
    before = replace(TrainConfig(), model=replace(TrainConfig().model, over_arch="dhen"))
    after = alternative.of(before)
    assert after.model.over_arch == "dhen"
    was, now = chosen_of(before), chosen_of(after)
    assert {name: now[name] for name in now if now[name] != was[name]} == alternative.settings


def test_another_size_keeps_the_dropout():
    config = Alternative({"size": "medium"}).of(Alternative({"dropout": 0.2}).of(TrainConfig()))
    assert config.model == replace(SIZES["medium"], dropout=0.2)
    assert chosen_of(replace(config, model=TINY.model))["size"] == "custom"


def test_ids_are_forgotten_where_ads_have_fields_and_few_clicks():
    first, second = (alternative for alternative in ALTERNATIVES if "forget_share" in alternative.settings)
    sparse, bare, dense = positives(), positives(), positives(items=6, clicks=5, planted=False)
    bare = replace(bare, spec=replace(bare.spec, item_fields=(), key_families=bare.spec.key_families[1:]))
    assert [first.applies(TINY, log) for log in (sparse, bare, dense)] == [True, False, False]
    assert not second.applies(TINY, sparse)
    assert second.applies(replace(TINY, forget_share=0.5), sparse)


def test_higher_learning_rates_are_for_positives_and_either_change_is_from_the_default():
    higher, lower = (alternative for alternative in ALTERNATIVES if "learning_rate" in alternative.settings)
    assert [higher.applies(TINY, log) for log in (positives(), impressions())] == [True, False]
    assert all(lower.applies(TINY, log) for log in (positives(), impressions()))
    assert not lower.applies(higher.of(TINY), positives())


def test_negatives_are_chosen_for_positives_alone():
    [negatives] = [alternative for alternative in ALTERNATIVES if "negatives" in alternative.settings]
    assert negatives.applies(TINY, positives())
    assert not negatives.applies(TINY, impressions())
