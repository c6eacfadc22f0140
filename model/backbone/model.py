"""The backbone: fitting, candidates, ranking, and its folder of safetensors and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from model.backbone import ranking
from model.backbone.features import SCORES, Block, PairFeatures
from model.backbone.head import Head, Lists, train_head
from model.backbone.interactions import Matrix, hold_out, lengths
from model.backbone.neighbours import Neighbours
from model.backbone.spectral import Towers, fit_towers, normalised
from model.config import ConfigError


@dataclass(frozen=True)
class BackboneConfig:
    """Hyperparameters, the same for all data; those of the over-arch were chosen on hold-outs of Gowalla's train pairs.

    Attributes:
        dims: D of the towers.
        hold_out: share of each user's pairs that the over-arch is trained on, held out from its features.
        head_users: most users whose held-out pairs it is trained on; features of a user take about 10 ms.
        candidates: of each score; the over-arch ranks their union.
        hidden: width of the over-arch.
        epochs: of the over-arch.
        rate: its highest learning rate.
        batch: users a step of the over-arch.
        block: users whose scores are in memory at once; few, so that they stay in the processor's caches.
    """

    dims: int = 512
    hold_out: float = 0.2
    head_users: int = 30_000
    candidates: int = 50
    hidden: int = 32
    epochs: int = 16
    rate: float = 0.02
    batch: int = 64
    block: int = 32


@dataclass(frozen=True)
class Backbone:
    """A fitted backbone."""

    config: BackboneConfig
    towers: Towers
    head: Head

    def save(self, folder: Path) -> None:
        """Writes `backbone.json` and `backbone.safetensors`; the train pairs are not part of it."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {"vectors": torch.from_numpy(np.ascontiguousarray(self.towers.vectors)),
                   "strengths": torch.from_numpy(np.ascontiguousarray(self.towers.strengths))}
        save_file(tensors | {f"head.{k}": v for k, v in self.head.state_dict().items()},
                  folder / "backbone.safetensors")
        (folder / "backbone.json").write_text(json.dumps(asdict(self.config), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Backbone:
        """Reads what `save` wrote.

        Raises:
            ConfigError: it is not there, or it is of another version.
        """
        try:
            config = BackboneConfig(**json.loads((folder / "backbone.json").read_bytes()))
            tensors = load_file(folder / "backbone.safetensors")
            head = Head(SCORES, config.hidden)
            head.load_state_dict({k.removeprefix("head."): v for k, v in tensors.items() if k.startswith("head.")})
            return cls(config, Towers(tensors["vectors"].numpy(), tensors["strengths"].numpy()), head)
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            raise ConfigError(f"{folder} holds no backbone of this version: {error}; fit it again") from error


def fit(train: Matrix, config: BackboneConfig, seed: int) -> tuple[Backbone, Neighbours]:
    """Trains the over-arch on held-out train pairs, then refits towers and neighbours on all of them.

    Args:
        train: (users, items) CSR.
        config: knobs.
        seed: of hold-out, towers' start, and over-arch.

    Returns:
        The backbone, and the neighbour terms of all train pairs.
    """
    head = learn_head(head_lists(train, config, seed), config, seed)
    towers = fit_towers(normalised(train), config.dims, np.random.default_rng([seed, 0]))
    return Backbone(config, towers, head), Neighbours(train)


def head_lists(train: Matrix, config: BackboneConfig, seed: int) -> Lists:
    """Training examples of the over-arch: held-out train pairs, with features of the remaining ones.

    Raises:
        ConfigError: no user has two train pairs.
    """
    rng = np.random.default_rng([seed, 1])
    inner = hold_out(train, config.hold_out, rng)
    users = np.flatnonzero(lengths(inner.test))
    if not len(users):
        raise ConfigError("no user has two train pairs, so none can be held out; give a denser split")
    features = PairFeatures(inner.train, Neighbours(inner.train),
                            fit_towers(normalised(inner.train), config.dims, rng))
    return candidate_lists(features, inner.test, np.sort(rng.permutation(users)[:config.head_users]), config)


def learn_head(lists: Lists, config: BackboneConfig, seed: int) -> Head:
    """The over-arch, trained on lists of `head_lists`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = Head(SCORES, config.hidden)
    head.calibrate(torch.from_numpy(lists.inputs))
    train_head(head, lists, config.epochs, config.rate, config.batch, np.random.default_rng([seed, 2]))
    return head


def candidate_lists(features: PairFeatures, wanted: Matrix, users: NDArray[np.integer], config: BackboneConfig,
                    ) -> Lists:
    """Candidates of users, and which of them are held-out pairs `wanted` (users, items)."""
    counts, inputs, positives, found = [], [], [], []
    for chosen in blocks(users, config.block, "over-arch"):
        block = features.block(chosen)
        rows, items = candidates(block, config.candidates)
        held = np.zeros(block.scores.shape[1:], bool)
        held[wanted[chosen].nonzero()] = True
        counts.append(np.bincount(rows, minlength=len(chosen)))
        inputs.append(block.inputs(rows, items))
        positives.append(held[rows, items])
        found.append(items)
    return Lists(np.concatenate([[0], np.cumsum(np.concatenate(counts))]), np.concatenate(inputs),
                 np.concatenate(positives), np.concatenate(found))


def candidates(block: Block, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The union of the best `count` items by each score: rows of the block (P,) and items (P,), rows ascending."""
    chosen = np.zeros(block.scores.shape[1:], bool)
    for scores in block.scores:
        np.put_along_axis(chosen, ranking.best(scores, count), True, axis=1)
    chosen[block.own.nonzero()] = False
    rows, items = chosen.nonzero()
    return rows, items


def rank(head: Head, block: Block, rows: NDArray[np.integer], items: NDArray[np.integer],
         cut: int = ranking.CUT) -> NDArray[np.int64]:
    """The best `cut` of the pairs (P,), (P,) of each user: (B, cut) items, best first, -1 where there are fewer."""
    return top_of(head.score(block.inputs(rows, items)), (len(block.history), block.scores.shape[2]), rows, items, cut)


def top_of(scores: NDArray[np.float32], shape: tuple[int, int], rows: NDArray[np.integer], items: NDArray[np.integer],
           cut: int = ranking.CUT) -> NDArray[np.int64]:
    """`rank` for pairs that already have scores (P,), out of (B, N)."""
    dense = np.full(shape, -np.inf, np.float32)
    dense[rows, items] = scores
    return ranking.shown(dense, cut)


def blocks(users: NDArray[np.integer], size: int, name: str) -> Iterator[NDArray[np.integer]]:
    """Users block by block, with a bar."""
    with tqdm(total=len(users), desc=name, unit="user", leave=False) as bar:
        for first in range(0, len(users), size):
            chosen = users[first:first + size]
            yield chosen
            bar.update(len(chosen))
