"""DHEN against its formula."""

import torch

from model.network.dhen import DHEN, DHENLayer


def test_dhen_layer_equals_its_formula_written_out(tolerance=1e-5):
    torch.manual_seed(3)
    layer = DHENLayer(5, 3, 4, 8)
    x = torch.randn(5, 4)
    shortcut = layer.shortcut @ x
    cross = shortcut * ((x.flatten() @ layer.cross).view(3, 4) + layer.cross_bias)
    products = (layer.query @ x @ layer.query_key) @ x.T
    attention = torch.softmax(products / 2, dim=1) @ (x @ layer.value)
    fm = layer.mlp(layer.norm_products(products.flatten())).view(3, 4)
    assert torch.allclose(layer(x), layer.norm(cross + attention + fm + shortcut), atol=tolerance)


def test_dhen_takes_all_towers_tokens_as_one_layer_does(tolerance=1e-5):
    torch.manual_seed(4)
    net = DHEN(3, 2, 4, 2, tokens=3, hidden=8, layers=2)
    user, item, pair = torch.randn(1, 3, 4), torch.randn(1, 2, 4), torch.randn(1, 1, 4)
    tokens = net.layers[0](net.first(torch.cat([user[0], item[0], pair[0]])))
    assert torch.allclose(net(user, item, pair)[0, 0], net.head(tokens.flatten()) + net.bias, atol=tolerance)
