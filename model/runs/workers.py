"""Workers that train one run together: each learns from a part of every batch, and all hold the same parameters.

Whatever is drawn at random is drawn for whole batches, by the numbers that one worker would draw, and users and items
of a whole batch pass the towers on every worker. Pairs are what a worker has a part of: their features, scores and
losses. The sum of the workers' gradients is that of the batch, but for the order in which floats are added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.progress.range_workers import HERE, RangeWorkers
from model.runs.checkpoint import ReadOnlyFolder, RunFolder

T = TypeVar("T")


@dataclass(frozen=True)
class Workers:
    """A worker among those of a training; more than one talk through the process group of torch.

    Attributes:
        rank: of this worker; the first, 0, learns trees, measures and writes, which the others wait for.
        count: of the workers.
        ranges: who computes ranges for the first.
    """

    rank: int = 0
    count: int = 1
    ranges: RangeWorkers = HERE

    @classmethod
    def of_group(cls, ranges: RangeWorkers = HERE) -> Workers:
        """The worker that this process is in torch's process group."""
        return cls(dist.get_rank(), dist.get_world_size(), ranges)

    @property
    def first(self) -> bool:
        """Whether this is the first worker."""
        return self.rank == 0

    def folder(self, path: Path) -> RunFolder:
        """The folder of the run, which the first worker alone writes."""
        return RunFolder(path) if self.first else ReadOnlyFolder(path)

    def part(self, groups: int) -> slice:
        """Which groups of a batch this worker learns from; none if the batch has fewer than there are workers."""
        return slice(self.rank * groups // self.count, (self.rank + 1) * groups // self.count)

    def handed(self, value: T | None, giver: int = 0) -> T:
        """What the worker `giver` has, on all workers; the value of the others is not read."""
        box = [value]
        if self.count > 1:
            # Pickled, as all that Ray moves between these processes, which run each other's code anyway.
            dist.broadcast_object_list(box, giver, device=torch.device("cpu"))
        found = box[0]
        assert found is not None
        return found

    @torch.no_grad()
    def align(self, modules: Iterable[nn.Module]) -> None:
        """Gives all workers the parameters and buffers that the first one has."""
        if self.count > 1:
            for module in modules:
                for tensor in (*module.parameters(), *module.buffers()):
                    dist.broadcast(tensor, 0)

    @torch.no_grad()
    def add_up(self, parameters: Iterable[nn.Parameter], others: Sequence[Tensor]) -> None:
        """Sums gradients, and other float32 tensors, over the workers, in place and the same to the bit on all of them.

        A sparse gradient has the same rows on every worker, those of the whole batch, so only their values travel.
        """
        if self.count == 1:
            return
        parts = list(others)
        for parameter in parameters:
            if (gradient := parameter.grad) is not None:
                if gradient.is_sparse:
                    parameter.grad = gradient = gradient.coalesce()
                parts.append(gradient.values() if gradient.is_sparse else gradient)
        flat = torch.cat([part.detach().flatten() for part in parts])
        dist.all_reduce(flat)
        for part, summed in zip(parts, torch.split(flat, [part.numel() for part in parts]), strict=True):
            part.copy_(summed.view_as(part))


ALONE = Workers()
"""A training of one worker, without a process group."""
