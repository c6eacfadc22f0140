"""DeepFM against its formula."""

import torch

from model.network.deepfm import DeepFM


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
