"""The folded form of a network against the network."""

import numpy as np
import pytest
import torch

from index_store.features.interaction import feature_names
from index_store.kernel.pair_kernel import PairKernel
from model.config.monn import MoNNConfig, StackedLayer
from model.network.folding import FoldedNetwork
from model.network.monn import MoNN, Scorer
from tests.index_store.kernel.plain_scorer import compiled
from tests.model.worlds import positives


@pytest.mark.parametrize("shape", [
    {}, {"layers": 2}, {"layers": 3, "fm_tokens": 1, "linear_tokens": 3}, {"over_arch": "dot"},
    {"user_tokens": 3, "item_tokens": 5, "fm_tokens": 3, "linear_tokens": 1, "dim": 8, "pair_hidden": ()},
    {"over_arch": "deepfm", "user_tokens": 3, "item_tokens": 5}, {"over_arch": "deepfm", "layers": 3},
    {"over_arch": "dhen", "user_tokens": 3, "item_tokens": 5}, {"over_arch": "dhen", "layers": 3}])
def test_the_folded_form_scores_as_the_network_does(shape, tolerance=1e-5):
    torch.manual_seed(0)
    data, config = positives(), MoNNConfig(**shape)
    network = MoNN(data.encoder, config, 2).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # away from ones, zeros and the start
            parameter.add_(torch.randn_like(parameter) * 0.1)
        network.calibrate(torch.rand(30, len(feature_names(data.spec))) * 4 - 1)
        scorer = FoldedNetwork(network)
        user, items = torch.randn(1, config.user_embedding), torch.randn(50, config.item_embedding)
        interaction = torch.rand(50, len(feature_names(data.spec))) * 3
        assert len(scorer.scorers) == (1 if config.over_arch == "dot" else 2)
        for at in range(len(scorer.scorers)):
            found = scorer.scorers[at](scorer.user_part(user), scorer.item_part_of(at, items), interaction)
            torch.testing.assert_close(found, Scorer(network, at)(user, items, interaction), rtol=0, atol=tolerance)
        own = {value.data_ptr() for value in scorer.state_dict().values()}
        assert not own & {value.data_ptr() for value in network.state_dict().values()}, "what is trained on stays apart"
        halved = scorer.scorers[-1](scorer.user_part(user), scorer.item_part(items).half(), interaction)
        torch.testing.assert_close(halved, found, rtol=0, atol=0.02)


@pytest.mark.parametrize("shape", [
    {}, {"user_tokens": 3, "item_tokens": 5, "fm_tokens": 3, "linear_tokens": 1, "dim": 8, "pair_hidden": ()},
    {"dim": 5, "pair_hidden": (7, 9), "over_hidden": 13}, {"fm_tokens": 4, "linear_tokens": 0, "user_tokens": 8}])
@pytest.mark.parametrize("ensemble", [(), (1,)])
def test_the_compiled_kernel_scores_as_the_folded_form_does(shape, ensemble, tolerance=1e-5):
    torch.manual_seed(0)
    data, config = positives(), MoNNConfig(**shape)
    network = MoNN(data.encoder, config, 2, stack=[StackedLayer(level, config) for level in ensemble]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        folded, features = FoldedNetwork(network), len(feature_names(data.spec))
        users = folded.user_part(torch.randn(1, sum(network.user_widths)))
        for at, weights in enumerate(folded.weights()):
            items = torch.randn(50, weights.item_width)
            interaction = torch.rand(50, features) * 3
            kernel = PairKernel(weights, compiled())
            for stored in (items, items.half()):
                expected = folded.scorers[at](users, stored, interaction).numpy()
                np.testing.assert_allclose(kernel(users.numpy(), stored.numpy(), interaction.numpy()), expected,
                                           rtol=1e-5, atol=tolerance)


@pytest.mark.parametrize("shape", [{"layers": 2}, {"over_arch": "dot"}, {"over_arch": "deepfm"}, {"over_arch": "dhen"}])
def test_other_over_archs_have_no_weights_for_the_kernel(shape):
    assert set(FoldedNetwork(MoNN(positives().encoder, MoNNConfig(**shape), 2)).weights()) == {None}
