"""Wukong against its formula."""

import torch

from model.network.wukong import Wukong

WUKONG = {"fm_tokens": 2, "linear_tokens": 2, "hidden": 8}


def test_wukong_layer_equals_its_formula_written_out(tolerance=1e-5):
    torch.manual_seed(1)
    net = Wukong(2, 2, 4, 1, **WUKONG, layers=1)
    user, item, pair = torch.randn(1, 2, 4), torch.randn(1, 2, 4), torch.randn(1, 1, 4)
    u, v, z = user[0], item[0], pair[0, 0]
    products = torch.cat([(u @ v.T).flatten(), u @ z, v @ z, (z @ z)[None]])
    fm = net.fm(net.norm_products(products)).view(2, 4)
    linear = net.mix_user @ u + net.mix_item @ v + torch.outer(net.mix_pair, z)
    linear[:2] += fm
    expected = net.head(net.norm(linear).flatten()) + net.bias
    assert torch.allclose(net(user, item, pair)[0, 0], expected, atol=tolerance)


def test_training_starts_at_the_given_rates():
    net = Wukong(2, 2, 4, 2, **WUKONG, layers=1)
    net.start_at(torch.tensor([-2.0, -4.0]))
    assert net.bias.tolist() == [-2.0, -4.0]
