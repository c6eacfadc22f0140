"""The student adapter: what a new one says, and what it can learn."""

import torch

from model.network.adapter import LEAST, Adapter


def test_a_new_adapter_gives_the_teachers_logits():
    p = torch.tensor([[0.25, 0.5], [0.0, 1.0]])
    found = Adapter(2)(p)
    torch.testing.assert_close(found, torch.logit(p, LEAST))
    assert torch.isfinite(found).all()


def test_it_learns_to_correct_a_teacher_that_says_too_much(tolerance=0.02):
    torch.manual_seed(0)
    adapter, taught = Adapter(1), torch.rand(4_000, 1) * 0.8 + 0.1
    true = torch.bernoulli(taught / 2)
    optimizer = torch.optim.Adam(adapter.parameters(), 0.02)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(adapter(taught), true).backward()
        optimizer.step()
    found = torch.sigmoid(adapter(torch.tensor([[0.2], [0.5], [0.8]]))).detach()
    torch.testing.assert_close(found, torch.tensor([[0.1], [0.25], [0.4]]), atol=3 * tolerance, rtol=0)
