"""Codebooks of HILL's joint version, which train together with MoNN (Sections 3.2 to 3.4).

An item is represented by `r = [its scaled embedding; its score profile]`. Level by level it attends to the codes,
subtracts their mixture and passes the residual to the next level (Equations 4 and 5). The sum of the mixtures is its
pseudo embedding, and the part of it in the space of item embeddings is the scorer's input `c~` (Algorithm 1, lines 5 to
10). `soft_tree` combines the codebooks with users and trees.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.config.errors import ConfigError
from model.config.hill import HillConfig
from model.tree.health import LevelHealth

COMMITMENT = 0.25
"""Weight of the half of the reconstruction loss that moves the items towards their codes, as in RQ-VAE."""

FEWEST_USED = 0.1
"""Smallest share of a level's codes, by the entropy of the assignment, that its items must spread over."""

EMBEDDING_SHARE = 0.1
"""Length of an average item embedding in `r`, beside profiles of length one or more."""

_BLOCK = 4096


@dataclass(frozen=True)
class Attended:
    """The attention of N items to the codebooks, down to some level.

    Attributes:
        quantized: (N, D) sum of the mixtures, q of Equation 6.
        choices: for each level the code rows that were attended to (N, K) or (K,), and the attention (N, K).
    """

    quantized: Tensor
    choices: Sequence[tuple[Tensor, Tensor]]


class Codebooks(nn.Module):
    """The codes of all levels above the items.

    A level's codes are rows of one table. With codebooks per `parent` each node has its own slice of the next level's
    table; with `shared` ones all nodes have the same slice, and a node is the sequence of rows on its path.

    Args:
        branching: children of a node at each level.
        items: number of items.
        embedding: width Di of an item embedding.
        profile: width of an item's score profile.
        config: of the joint index.
    """

    items_read: Tensor
    embedding_scale: Tensor
    gaps: Tensor

    def __init__(self, branching: Sequence[int], items: int, embedding: int, profile: int, config: HillConfig) -> None:
        super().__init__()
        self.config, self.branching, self.embedding = config, tuple(branching), embedding
        tables, planned, parents = [], 1, 1
        for level, children in enumerate(branching):
            planned *= children
            # k-means gives a parent at least one child and rounds their number, hence the room for one more each.
            rows = children if config.codebooks == "shared" else planned + (parents if level else 0)
            slices = 1 if config.codebooks == "shared" else parents
            self.register_buffer(f"starts{level}", torch.zeros(slices + 1, dtype=torch.int64))
            tables.append(nn.Parameter(torch.zeros(rows, embedding + profile)))
            parents = rows
        self.tables = nn.ParameterList(tables)
        self.register_buffer("profiles", torch.zeros(items, profile))
        self.register_buffer("embedding_scale", torch.ones(()))
        self.register_buffer("gaps", torch.ones(len(branching)))
        self.progress = 0.0
        """Share of the joint training that is done, from 0 to 1; sets the sharpness of the attention."""
        self._pooled: list[deque[Tensor]] = [deque(maxlen=config.pooled_batches - 1) for _ in branching]

    @property
    def levels(self) -> int:
        return len(self.branching)

    def _starts(self, level: int) -> Tensor:
        return cast(Tensor, getattr(self, f"starts{level}"))

    def read(self, embeddings: Tensor, rows: Tensor) -> Tensor:
        """The attention's input r: embeddings (N, Di), item rows (N,) -> (N, D)."""
        return torch.cat([embeddings / self.embedding_scale, cast(Tensor, self.profiles)[rows]], dim=1)

    def item_space(self, quantized: Tensor) -> Tensor:
        """The part of (N, D) in the space of item embeddings: (N, Di)."""
        return quantized[:, :self.embedding] * self.embedding_scale

    @torch.no_grad()
    def start(self, embeddings: Tensor, profiles: Tensor) -> Tensor:
        """Stores profiles (n_items, at most P) and the scale of embeddings (n_items, Di) of all items; returns r."""
        stored = cast(Tensor, self.profiles)
        stored.zero_()
        stored[:, :profiles.shape[1]] = profiles
        spread = (embeddings - embeddings.mean(0)).norm(dim=1).mean()
        self.embedding_scale.copy_(spread.clamp(min=1e-12) / EMBEDDING_SHARE)
        return self.read(embeddings, torch.arange(len(embeddings), device=embeddings.device))

    @torch.no_grad()
    def start_at(self, read: Tensor, codes: NDArray[np.integer]) -> None:
        """Sets every code to the mean of its items' residuals.

        Args:
            read: (n_items, D).
            codes: (n_items, levels) of k-means, from 0 within a parent; shared ones mean the same under every parent.
        """
        residual, parent = read.clone(), torch.zeros(len(read), dtype=torch.int64, device=read.device)
        for level, table in enumerate(self.tables):
            code = torch.from_numpy(codes[:, level].astype(np.int64)).to(read.device)
            starts = self._starts(level)
            children = torch.zeros(len(starts) - 1, dtype=torch.int64, device=read.device)
            children.scatter_reduce_(0, parent, code + 1, "amax")
            starts[1:] = children.cumsum(0)
            rows = starts[parent] + code
            counts = torch.bincount(rows, minlength=len(table)).clamp(min=1)
            table.zero_()
            table.index_add_(0, rows, residual)
            table /= counts[:, None]
            distances = self._distances(residual, level, parent)[1]
            nearest = distances.topk(min(2, distances.shape[1]), largest=False).values
            gaps = (nearest[:, -1] - nearest[:, 0])[nearest[:, -1].isfinite()]
            self.gaps[level] = gaps.median().clamp(min=1e-12) if len(gaps) else 1.0
            residual -= table[rows]
            parent = self._parent(rows)
            self._pooled[level].clear()

    def _parent(self, rows: Tensor) -> Tensor:
        """The slice of the next level's table that belongs to code rows (N,)."""
        return torch.zeros_like(rows) if self.config.codebooks == "shared" else rows

    def _distances(self, residual: Tensor, level: int, parent: Tensor) -> tuple[Tensor, Tensor]:
        """Candidate code rows, (K,) or (N, K), and squared distances (N, K), infinite where there is no such code."""
        table, starts = self.tables[level], self._starts(level)
        squared = (residual**2).sum(1, keepdim=True)
        if len(starts) == 2:
            rows = torch.arange(int(starts[1]), device=residual.device)
            codes = table[rows]
            return rows, (squared - 2 * residual @ codes.T + (codes**2).sum(1)).clamp(min=0)
        first, end = starts[parent], starts[parent + 1]
        rows = first[:, None] + torch.arange(int((starts[1:] - starts[:-1]).max()), device=residual.device)
        exists = rows < end[:, None]
        rows = torch.where(exists, rows, first[:, None].clamp(max=len(table) - 1))
        codes = nn.functional.embedding(rows, table)
        distances = squared - 2 * torch.einsum("nd,nkd->nk", residual, codes) + (codes**2).sum(2)
        return rows, distances.clamp(min=0).masked_fill(~exists, float("inf"))

    def attend(self, read: Tensor, depth: int) -> Attended:
        """Soft assignment of items (N, D) down to level `depth`.

        The attention is `softmax(-alpha d)` with alpha = sharpness / the level's median gap between the two nearest
        codes, so that one sharpness fits all levels; it rises as in Equation 7, from a start above 0. With codebooks
        per parent an item attends to the children of its nearest code.
        """
        start, end = self.config.sharpness
        sharpness = start + (end - start) * self.progress**self.config.sharpness_power
        residual, quantized = read, torch.zeros_like(read)
        parent = torch.zeros(len(read), dtype=torch.int64, device=read.device)
        choices = []
        for level in range(depth):
            rows, distances = self._distances(residual, level, parent)
            attention = torch.softmax(-distances * (sharpness / self.gaps[level]), dim=1)
            codes = self.tables[level][rows]
            mixture = attention @ codes if rows.ndim == 1 else torch.einsum("nk,nkd->nd", attention, codes)
            choices.append((rows, attention))
            residual, quantized = residual - mixture, quantized + mixture
            nearest = distances.argmin(1)
            parent = self._parent(rows[nearest] if rows.ndim == 1 else rows.gather(1, nearest[:, None])[:, 0])
        return Attended(quantized, choices)

    @torch.no_grad()
    def snapshot(self, read: Tensor) -> tuple[NDArray[np.int32], float]:
        """Hard codes of all items (n_items, D): (n_items, levels), and the mean distance between soft and hard q.

        The distance is relative to that of the items from their common mean.
        """
        codes, gap = np.empty((len(read), self.levels), np.int32), 0.0
        for first in range(0, len(read), _BLOCK):
            block = read[first:first + _BLOCK]
            residual, parent = block, torch.zeros(len(block), dtype=torch.int64, device=read.device)
            for level, table in enumerate(self.tables):
                rows, distances = self._distances(residual, level, parent)
                nearest = distances.argmin(1)
                chosen = rows[nearest] if rows.ndim == 1 else rows.gather(1, nearest[:, None])[:, 0]
                codes[first:first + _BLOCK, level] = nearest.cpu().numpy()
                residual, parent = residual - table[chosen], self._parent(chosen)
            gap += float((self.attend(block, self.levels).quantized - (block - residual)).norm(dim=1).sum())
        spread = float((read - read.mean(0)).norm(dim=1).sum())
        return codes, gap / max(spread, 1e-12)

    def rows_of(self, codes: NDArray[np.integer]) -> list[Tensor]:
        """Table row of each code (N, levels), level by level: (N,)."""
        rows, parent = [], torch.zeros(len(codes), dtype=torch.int64, device=self.gaps.device)
        for level in range(self.levels):
            code = torch.from_numpy(codes[:, level].astype(np.int64)).to(parent.device)
            rows.append(self._starts(level)[parent] + code)
            parent = self._parent(rows[-1])
        return rows

    def node_embeddings(self, codes: NDArray[np.integer], level: int) -> Tensor:
        """Virtual item embeddings (N, Di) of the nodes that begin with codes (N, levels), at a level from 1."""
        rows = self.rows_of(codes)[:level]
        return self.item_space(torch.stack([table[at] for table, at in zip(self.tables, rows, strict=False)]).sum(0))

    def penalty(self, read: Tensor, attended: Attended) -> Tensor:
        """The index's own loss: reconstruction (Equation 6) and balance, weighted.

        Args:
            read: (N, D), the attention's input.
            attended: its output, down to the level whose q is to approximate the items.
        """
        missing = (attended.quantized - read.detach()) ** 2 + COMMITMENT * (attended.quantized.detach() - read) ** 2
        reconstruction = missing.sum(1).mean()
        flops = torch.stack([self._flops(level, *choice) for level, choice in enumerate(attended.choices)]).mean()
        return self.config.reconstruction_weight * reconstruction + self.config.balance_weight * flops

    def _flops(self, level: int, rows: Tensor, attention: Tensor) -> Tensor:
        """The FLOPs regulariser, `sum_k (mean_j a_jk)^2`, over the pooled batches, times the codes: 1 at best."""
        codes = int(self._starts(level)[-1])
        usage = attention.mean(0) if rows.ndim == 1 else torch.zeros(codes, device=attention.device).index_add(
            0, rows.flatten(), attention.flatten() / len(attention))
        older = self._pooled[level]
        pooled = torch.stack([usage, *older]).mean(0)
        if older.maxlen:
            older.append(usage.detach())
        return codes * (pooled**2).sum()


def check_collapse(report: Sequence[LevelHealth], planned: Sequence[int]) -> None:
    """Raises ConfigError if a level's items collapse onto a few of its codes.

    Args:
        report: health of the hard assignment.
        planned: nodes that each level may have.
    """
    for level, most in zip(report, planned, strict=True):
        used = level.nodes**level.entropy
        if used < FEWEST_USED * most:
            raise ConfigError(f"the index has collapsed at level {level.level}: its items spread over {used:.1f} of "
                              f"{most} nodes, {level.nodes} of them not empty; raise balance_weight or lower the "
                              "codes' learning rate, then train again")
