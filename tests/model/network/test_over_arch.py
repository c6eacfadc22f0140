"""Over-archs: a pair gets the same logits whichever way its candidates are handed over, and those of the formula."""

import pytest
import torch

from model.network.deepfm import DeepFM
from model.network.dhen import DHEN, DHENLayer
from model.network.over_arch import DotProduct
from model.network.wukong import Wukong

WUKONG = {"fm_tokens": 2, "linear_tokens": 2, "hidden": 8}


@pytest.mark.parametrize("over_arch", [
    pytest.param(DotProduct(3, 3, 4, 2), id="dot"),
    pytest.param(Wukong(3, 2, 4, 2, **WUKONG, layers=1), id="wukong-of-one-layer"),
    pytest.param(Wukong(3, 2, 4, 2, **WUKONG, layers=3), id="wukong-of-three-layers"),
    pytest.param(DeepFM(3, 2, 4, 2, hidden=8, layers=1), id="deepfm"),
    pytest.param(DHEN(3, 2, 4, 2, tokens=3, hidden=8, layers=1), id="dhen-of-one-layer"),
    pytest.param(DHEN(3, 2, 4, 2, tokens=3, hidden=8, layers=3), id="dhen-of-three-layers"),
])
def test_shared_candidates_score_as_own_candidates_do(over_arch, tolerance=1e-5):
    torch.manual_seed(0)
    item_tokens = 3 if isinstance(over_arch, DotProduct) else 2
    user, item, pair = torch.randn(5, 3, 4), torch.randn(7, item_tokens, 4), torch.randn(5, 7, 4)
    shared = over_arch(user, item, pair)
    own = over_arch(user, item.expand(5, -1, -1, -1), pair)
    one = over_arch(user[2:3], item[4:5], pair[2:3, 4:5])
    assert shared.shape == (5, 7, 2)
    assert torch.allclose(shared, own, atol=tolerance)
    assert torch.allclose(shared[2, 4], one[0, 0], atol=tolerance)


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


def test_deepfm_equals_its_formula_written_out(tolerance=1e-5):
    torch.manual_seed(2)
    net = DeepFM(2, 3, 4, 2, hidden=8, layers=1)
    with torch.no_grad():
        for parameter in net.parameters():  # away from equal weights
            parameter.add_(torch.randn_like(parameter) * 0.3)
    u, v, z = torch.randn(2, 4), torch.randn(3, 4), torch.randn(4)
    first = net.first_user @ u.flatten() + net.first_item @ v.flatten() + net.first_pair @ z
    deep = net.head(net.mlp(net.of_user(u.flatten()) + net.of_item(v.flatten()) + net.of_pair(z)))
    expected = net.bias + first + deep + torch.stack([
        sum(net.user_item[t, j, i] * (u[i] @ v[j]) for i in range(2) for j in range(3))
        + sum(net.user_pair[t, i] * (u[i] @ z) for i in range(2))
        + sum(net.item_pair[t, j] * (v[j] @ z) for j in range(3)) + net.pair_pair[t] * (z @ z) for t in range(2)])
    assert torch.allclose(net(u[None], v[None], z[None, None])[0, 0], expected, atol=tolerance)


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


def test_dot_product_is_blind_to_the_pair():
    net = DotProduct(2, 2, 4, 1)
    user, item = torch.randn(3, 2, 4), torch.randn(5, 2, 4)
    assert torch.equal(net(user, item, torch.zeros(3, 5, 4)), net(user, item, torch.ones(3, 5, 4)))


def test_training_starts_at_the_given_rates():
    net = Wukong(2, 2, 4, 2, **WUKONG, layers=1)
    net.start_at(torch.tensor([-2.0, -4.0]))
    assert net.bias.tolist() == [-2.0, -4.0]
