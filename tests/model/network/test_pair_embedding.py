"""The graph of a foundation model: logits as the network's, and the tokens that its head reads."""

import pytest
import torch

from index_store.features.interaction import feature_names
from model.config.errors import ConfigError
from model.config.monn import MoNNConfig
from model.network.folding import FoldedNetwork
from model.network.monn import MoNN
from model.network.pair_embedding import PairEmbedding
from tests.model.worlds import positives


@pytest.mark.parametrize("shape", [{}, {"layers": 3, "fm_tokens": 1, "linear_tokens": 3}])
def test_it_gives_the_logits_and_what_they_are_made_of(shape, tolerance=1e-5):
    torch.manual_seed(0)
    data, config = positives(), MoNNConfig(**shape)
    network = MoNN(data.encoder, config, 2).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        folded = FoldedNetwork(network)
        user, items = torch.randn(1, config.user_embedding), torch.randn(9, config.item_embedding)
        interaction = torch.rand(9, len(feature_names(data.spec)))
        found = PairEmbedding(network)(folded.user_part(user), folded.item_part(items), interaction)
        layers = network.scorers[-1]
        embedding = layers.interaction_embedding(user, items[None], interaction[None])[0]
        torch.testing.assert_close(found[:, :1], layers.score(user, items[None], interaction[None])[0], rtol=0,
                                   atol=tolerance)
        torch.testing.assert_close(found[:, 1:], embedding, rtol=0, atol=tolerance)
        assert embedding.shape == (9, (config.fm_tokens + config.linear_tokens) * config.dim)


def test_other_over_archs_have_no_last_tokens():
    network = MoNN(positives().encoder, MoNNConfig(over_arch="deepfm"), 2).eval()
    with pytest.raises(ConfigError, match="needs the over-arch wukong"):
        PairEmbedding(network)
