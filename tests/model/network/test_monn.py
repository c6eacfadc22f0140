"""MoNN: layers side by side, and an ensemble of them."""

from dataclasses import replace

import pytest
import torch

from index_store.features.encoder import FeatureEncoder
from index_store.features.interaction import feature_names
from model.config.errors import ConfigError
from model.network.monn import MoNN, Scorer
from tests.model.tiny_runs import STACK, TINY
from tests.model.worlds import positives

DOT = replace(TINY.model, over_arch="dot")


def test_a_model_of_one_layer_has_no_weights():
    assert not hasattr(MoNN(positives().encoder, TINY.model, 2), "weights")


def test_a_stack_adds_its_weighted_layers_and_the_intercept():
    torch.manual_seed(0)
    network = MoNN(positives().encoder, TINY.model, 2, stack=STACK.stack).eval()
    with torch.no_grad():
        network.weights.copy_(torch.tensor([[0.25], [2.0]]))
        network.intercept.fill_(-1.0)
        users, items = torch.randn(3, sum(network.user_widths)), torch.randn(5, network.item_width)
        interaction = torch.rand(3, 5, len(feature_names(positives().spec)))
        layers = [network.score(users, items, interaction, level=1), network.score(users, items, interaction)]
        assert torch.allclose(network.combine(layers), 0.25 * layers[0] + 2 * layers[1] - 1, atol=1e-6)
        shares = [Scorer(network, at)(users[:1], items, interaction[0]) for at in range(2)]
        assert torch.allclose(shares[0], 0.25 * layers[0][0], atol=1e-6)
        assert torch.allclose(sum(shares), network.combine(layers)[0], atol=1e-6)


def test_every_parameter_is_dense_or_sparse_and_none_is_both():
    network = MoNN(positives().encoder, TINY.model, 2)
    dense, sparse = ({id(p) for p in part} for part in (network.dense_parameters(), network.sparse_parameters()))
    assert not dense & sparse
    assert dense | sparse == {id(p) for p in network.parameters()}


def test_an_auxiliary_head_scores_apart_from_the_main_one():
    torch.manual_seed(0)
    network = MoNN(positives().encoder, TINY.model, 2, auxiliary=True)
    pair = torch.randn(1, 16), torch.randn(4, 16), torch.rand(1, 4, len(feature_names(positives().spec)))
    main, auxiliary = (network.score(*pair, auxiliary=which) for which in (False, True))
    assert main.shape == auxiliary.shape == (1, 4, 1)
    assert not torch.equal(main, auxiliary)


@pytest.mark.parametrize(("model", "negatives", "stack"), [
    (TINY.model, "sampled", ()), (DOT, "impressions", ()), (DOT, "sampled", STACK.stack)])
def test_scores_are_logits_unless_two_towers_alone_learn_positives(model, negatives, stack):
    encoder = positives().encoder
    spec = replace(encoder.spec, negatives=negatives)
    network = MoNN(FeatureEncoder(spec, encoder.vocabularies, encoder.scales, encoder.item_ids), model, 2, stack=stack)
    scores = torch.randn(3, 5, 1)
    assert torch.equal(network.link(scores), scores)


def test_logits_of_two_towers_of_positives_are_in_the_order_of_their_scores():
    torch.manual_seed(0)
    network = MoNN(positives().encoder, DOT, 2)
    scores = 10 * torch.randn(200, 1)
    logits = network.link(scores)
    assert not torch.equal(logits, scores)
    assert torch.equal(logits[:, 0].argsort(), scores[:, 0].argsort())
    assert any(name.startswith("_link") for name, _ in network.named_parameters()), "its exponent is learned"


def test_nodes_are_scored_by_layers_of_their_own_which_start_as_a_copy():
    torch.manual_seed(0)
    network = MoNN(positives().encoder, TINY.model, 2, auxiliary=True).eval()
    pair = torch.randn(2, 16), torch.randn(4, 16), torch.rand(2, 4, len(feature_names(positives().spec)))
    assert not torch.equal(network.score(*pair, level=1), network.score(*pair))
    network.start_nodes()
    for level in (1, 2):
        assert torch.allclose(network.score(*pair, level=level), network.score(*pair), atol=1e-6)
    network.score(*pair, level=2).sum().backward()
    assert all(value.grad is None for value in network.layer(-1).over_arch.parameters())
    assert network.node_layers.over_arch.bias.grad is not None
    assert [network.scorer_of(level) for level in (1, 2, None)] == [0, 0, 1]


@pytest.mark.parametrize(("model", "stack", "scorers"), [(DOT, (), [0, 0, 0]), (TINY.model, STACK.stack, [0, 1, 1])])
def test_two_towers_and_stacks_score_nodes_by_their_layers(model, stack, scorers):
    network = MoNN(positives().encoder, model, 2, stack=stack)
    assert network.node_layers is None
    assert [network.scorer_of(level) for level in (1, 2, None)] == scorers


def test_both_pair_layers_are_calibrated_by_the_same_pairs():
    network = MoNN(positives().encoder, TINY.model, 2)
    network.calibrate(torch.rand(30, len(feature_names(positives().spec))))
    one, other = (scorer.interaction_tower for scorer in network.scorers)
    assert torch.equal(one.mean, other.mean)
    network.ignore([0, 2])
    assert all(tower.deviation[[0, 2]].isinf().all() for tower in (one, other))


def test_two_towers_cannot_ignore_what_their_score_is_made_of():
    with pytest.raises(ConfigError, match="two towers read no interaction features but the spectral ones"):
        MoNN(positives().encoder, DOT, 2).ignore([0])
