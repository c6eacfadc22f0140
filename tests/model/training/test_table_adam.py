"""Tables learn what torch's own optimizer for sparse gradients teaches them."""

import torch

from model.training.table_adam import TableAdam


def test_steps_are_those_of_sparse_adam(atol=1e-7):
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(rows, 3)) for rows in (7, 40)]
    theirs = [torch.nn.Parameter(table.detach().clone()) for table in ours]
    optimizers = TableAdam(ours), torch.optim.SparseAdam(theirs)
    for step in range(20):
        ids, targets = [torch.randint(0, 5 + step, (9,)) % len(table) for table in ours], torch.randn(9, 3)
        for tables, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
            optimizer.zero_grad()
            for table, rows in zip(tables, ids, strict=True):
                (torch.nn.functional.embedding(rows, table, sparse=True) - targets).square().sum().backward()
            optimizer.step()
        for table, expected in zip(ours, theirs, strict=True):
            assert torch.allclose(table, expected, rtol=1e-5, atol=atol)


def test_rows_without_a_gradient_stay_as_they_are_after_later_steps():
    table = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = TableAdam([table], lr=0.1)
    for row in (0, 1):
        optimizer.zero_grad()
        torch.nn.functional.embedding(torch.tensor([row]), table, sparse=True).sum().backward()
        optimizer.step()
        if row == 0:
            first = table.detach()[0].clone()
    assert torch.equal(table[0], first), "momentum does not move it"
    assert torch.equal(table[2], torch.ones(2))


def test_a_table_without_a_gradient_or_without_rows_in_it_stays_as_it_is():
    tables = [torch.nn.Parameter(torch.ones(3, 2)) for _ in range(2)]
    optimizer = TableAdam(tables)
    torch.nn.functional.embedding(torch.empty(0, dtype=torch.int64), tables[0], sparse=True).sum().backward()
    optimizer.step()
    assert all(torch.equal(table, torch.ones(3, 2)) for table in tables)
