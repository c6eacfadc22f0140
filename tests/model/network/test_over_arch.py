"""Over-archs: a pair gets the same logits whichever way its candidates are handed over, and those of the formula."""

import pytest
import torch

from model.network.deepfm import DeepFM
from model.network.dhen import DHEN
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


def test_dot_product_ignores_the_pair():
    net = DotProduct(2, 2, 4, 1)
    user, item = torch.randn(3, 2, 4), torch.randn(5, 2, 4)
    assert torch.equal(net(user, item, torch.zeros(3, 5, 4)), net(user, item, torch.ones(3, 5, 4)))
