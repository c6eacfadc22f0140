"""Settings of every kind of search that a bench tries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index_store.bundle.bundle import Bundle
from loadtest.rivals.baselines import hnsw_sweep, ivf_sweep
from loadtest.rivals.distilled import Student, distilled_sweep
from loadtest.rivals.engines import engine_sweep
from loadtest.rivals.graph_walk import graph_sweep
from loadtest.rivals.searches import Exhaustive, Search, beams
from loadtest.rivals.two_tower import TwoTower
from model.progress.bars import Bar
from service.retrieval.beam_choice import read_curve


@dataclass(frozen=True)
class Sweep:
    """Settings of every kind of search; values above the number of ads are reduced to it.

    Attributes:
        beam_shares: multiples of the bundle's default beam.
        ms: M of HNSW.
        efs, kept_shares: efSearch of HNSW, and candidates to rerank as shares of it.
        cells: nlist of IVF as a multiple of the square root of the number of ads.
        probe_shares, candidates: probed cells as shares of nlist, and candidates to rerank.
        walk_ms: M of the walked graph; none leaves it out.
        walk_efs, walk_shares: ef of the walk, and nodes expanded per round as shares of it.
        distilled: candidates by distilled vectors, also those of the engines.
        distilled_shares: probed cells of their inverted files as shares of nlist.
    """

    beam_shares: tuple[float, ...] = (0.25, 0.5, 0.75, 1.5, 2.0, 3.0)
    ms: tuple[int, ...] = (16, 32)
    efs: tuple[int, ...] = (250, 1000, 4000, 8000, 16000)
    kept_shares: tuple[float, ...] = (1.0, 0.5)
    cells: float = 2.0
    probe_shares: tuple[float, ...] = (0.01, 0.05, 0.2, 0.5, 1.0)
    candidates: tuple[int, ...] = (250, 1000, 4000, 8000, 16000, 64000)
    walk_ms: tuple[int, ...] = (16,)
    walk_efs: tuple[int, ...] = (100, 200, 400, 800, 1600, 3200)
    walk_shares: tuple[float, ...] = (1.0, 0.25)
    distilled: tuple[int, ...] = (250, 500, 1000, 2000, 4000)
    distilled_shares: tuple[float, ...] = (0.05, 0.2)

    def searches(self, opened: Bundle, towers: TwoTower | None, student: Student | None) -> list[Search]:
        """All searches, the exhaustive one first, those over vectors if there are any; builds the indexes."""
        tree, n = opened.content.tree, opened.content.tree.n_items
        points = [point.beam_width for point in read_curve(opened).points]
        found: list[Search] = [Exhaustive(tree)]
        found += beams(tree, opened.manifest.search.beam_width, points, self.beam_shares)
        nlist = min(n, max(1, round(self.cells * n**0.5)))

        def probes(shares: Sequence[float]) -> list[int]:
            return _cut([max(1, round(share * nlist)) for share in shares], nlist)

        with Bar(total=1 + 2 * bool(towers) + 2 * bool(student), desc="indexes", unit="kind") as bar:
            if towers is not None:
                found += hnsw_sweep(tree, towers.vectors, self.ms, _cut(self.efs, n), self.kept_shares)
                bar.update()
                found += ivf_sweep(tree, towers.vectors, nlist, probes(self.probe_shares), _cut(self.candidates, n))
                bar.update()
            if student is not None:
                candidates = _cut(self.distilled, n)
                found += distilled_sweep(tree, student, nlist, probes(self.distilled_shares), candidates)
                bar.update()
                found += engine_sweep(tree, student, candidates, nlist, probes(self.distilled_shares), candidates)
                bar.update()
            if self.walk_ms:
                vectors = np.asarray(opened.content.embeddings[-1], np.float32)
                found += graph_sweep(tree, vectors, self.walk_ms, _cut(self.walk_efs, n), self.walk_shares)
            bar.update()
        return found


def _cut(values: Sequence[int], most: int) -> list[int]:
    return sorted({min(value, most) for value in values})
