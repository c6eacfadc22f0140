"""MoNN: layers side by side, and an ensemble of them."""

import torch

from index_store.features.interaction import feature_names
from model.network.monn import MoNN, Scorer
from tests.model.runs import STACK, TINY
from tests.model.worlds import positives


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
