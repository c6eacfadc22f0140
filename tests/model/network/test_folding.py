"""The folded form of a network against the network."""

import pytest
import torch

from index_store.features.interaction import feature_names
from model.config import MoNNConfig
from model.network.folding import FoldedNetwork
from model.network.monn import MoNN, Scorer
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
