"""Tables pool their rows by the square root of their number; towers are plain dense layers."""

import pytest
import torch

from index_store.features.ragged import Ragged
from index_store.features.spectral import PRODUCTS, RELATIVE_FACTOR, SPECTRAL_FEATURES
from model.network.towers import Dropout, InnerProductLink, InteractionTower, ProductTower, Tables, Tower


def test_a_bag_is_the_sum_of_its_rows_over_the_root_of_their_number(tolerance=1e-6):
    torch.manual_seed(0)
    tables = Tables({"a": 4, "b": 3}, 2)
    bags = {"a": Ragged.of([[0, 1, 2, 3], []]), "b": Ragged.of([[2], [0, 1]])}
    pooled = tables(bags)
    a, b = tables.arrays()["a"], tables.arrays()["b"]
    expected = torch.stack([torch.cat([a.sum(0) / 2, b[2]]), torch.cat([torch.zeros(2), b[:2].sum(0) / 2**0.5])])
    assert tables.width == 4
    assert torch.allclose(pooled, expected, atol=tolerance)


def test_a_tower_has_a_hidden_layer_for_each_width():
    tower = Tower(5, (4, 3), 2, dropout=0.5)
    assert [layer.weight.shape for layer in tower.layers if isinstance(layer, torch.nn.Linear)] == [
        (4, 5), (3, 4), (2, 3)]
    assert isinstance(tower.layers[0], Dropout)
    assert tower(torch.zeros(7, 5)).shape == (7, 2)


def test_dropout_zeroes_its_share_and_keeps_the_mean(tolerance=0.02):
    torch.manual_seed(0)
    dropout, inputs = Dropout(0.4), torch.ones(301, 333, requires_grad=True)
    outputs = dropout(inputs)
    outputs.sum().backward()
    kept = outputs != 0
    assert kept.float().mean().item() == pytest.approx(0.6, abs=tolerance)
    assert (kept.float().mean(dim=0) - 0.6).abs().max() < 0.15, "no column is spared"
    assert torch.allclose(outputs[kept], torch.tensor(1 / 0.6), rtol=1e-4)
    assert torch.equal(inputs.grad, outputs.detach())


def test_dropout_draws_anew_by_the_seed_and_not_at_all_in_eval_mode():
    dropout, inputs = Dropout(0.4), torch.ones(50, 7)
    torch.manual_seed(3)
    first, second = dropout(inputs), dropout(inputs)
    torch.manual_seed(3)
    assert torch.equal(dropout(inputs), first)
    assert not torch.equal(second, first)
    assert torch.equal(dropout.eval()(inputs), inputs)


@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)])
def test_an_interaction_tower_standardises_and_can_absorb_that(hidden, tolerance=1e-5):
    torch.manual_seed(0)
    features = torch.randn(200, 3) * torch.tensor([1.0, 50.0, 0.0]) + torch.tensor([0.0, -7.0, 4.0])
    tower = InteractionTower(3, hidden, 4, 2)
    assert not tower(features)[1].any(), "a new tower leaves the base rates alone"
    torch.nn.init.normal_(tower.direct.weight)
    scaled = (features - features.mean(dim=0)) / torch.cat([features.std(dim=0)[:2], torch.ones(1)])
    expected = tower(scaled)
    tower.calibrate(features)
    for found, wanted in zip(tower(features), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance)
    tower.absorb()
    assert not tower.mean.any()
    for found, wanted in zip(tower(features), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)


def test_a_product_tower_is_linear_in_the_products_themselves_and_blind_to_key_families(tolerance=1e-4):
    torch.manual_seed(0)
    numbers = torch.rand(50, len(SPECTRAL_FEATURES)) * 3
    features = torch.cat([torch.randn(50, 4), (1 + 10 * numbers[:, :PRODUCTS - 1]).log(),
                          (0.01 + numbers[:, PRODUCTS - 1:PRODUCTS]).log(), numbers[:, PRODUCTS:]], dim=1)
    tower = ProductTower(2)
    tower.calibrate(features)
    assert not tower(features)[1].any(), "a new tower leaves the base rates alone"
    torch.nn.init.normal_(tower.weight)
    expected = (numbers / numbers.std(dim=0)) @ tower.weight.T * tower.GAIN
    torch.testing.assert_close(numbers @ tower.linear_weights().T, expected, rtol=tolerance, atol=tolerance)
    token, logits = tower(features)
    assert token.shape == (50, 0)
    torch.testing.assert_close(logits, expected, rtol=tolerance, atol=tolerance)
    tower.absorb()
    torch.testing.assert_close(tower(features)[1], expected, rtol=tolerance, atol=tolerance)


def test_a_new_product_tower_may_start_at_the_full_product():
    features = torch.rand(50, 4 + len(SPECTRAL_FEATURES))
    tower = ProductTower(2, start=5.0)
    tower.calibrate(features)
    full = features[:, 4 + SPECTRAL_FEATURES.index("spectral.full")].expm1() / RELATIVE_FACTOR
    torch.testing.assert_close(tower(features)[1], 5 * full[:, None].expand(-1, 2))


def test_a_link_keeps_the_order_and_is_a_logarithm_of_large_products(tolerance=1e-3):
    link, products = InnerProductLink(2), torch.linspace(-200, 400, 1000)
    with torch.no_grad():
        link.exponent.copy_(torch.tensor([1.0, 2.5]))
        logits = link(products[:, None].expand(-1, 2))
    assert (logits.diff(dim=0) > 0).all()
    large = products > 20
    torch.testing.assert_close(logits[large, 1], 2.5 * products[large].log(), rtol=tolerance, atol=tolerance)


def test_a_link_has_a_gradient_however_small_the_product():
    products = torch.tensor([-500.0, -15.0, -1.0, 0.0, 1e4], requires_grad=True)
    InnerProductLink(1)(products[:, None]).sum().backward()
    assert products.grad is not None
    assert products.grad.isfinite().all()
    assert (products.grad > 0).all()
