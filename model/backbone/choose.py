"""Choice of the backbone's hyperparameters on hold-outs of the train pairs alone: `python -m model.backbone.choose`.

Each hold-out takes the place of the test set once; the backbone, including its own inner hold-out, is fitted to the
rest. Trials that differ only in the over-arch share features and candidates.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.backbone import model, ranking
from model.backbone.features import PairFeatures
from model.backbone.hold_outs import SHAPES, shaped
from model.backbone.interactions import Matrix, lengths, read_split
from model.backbone.model import BackboneConfig
from model.backbone.neighbours import Neighbours
from model.backbone.spectral import fit_towers, normalised
from model.config import ConfigError
from model.data.tables import DataError

SHARE = 0.2
"""Of each user's train pairs, held out as if they were test pairs."""

OF_HEAD = ("hidden", "epochs", "rate", "batch")
"""Hyperparameters of the over-arch alone."""


def judge(train: Matrix, trials: Sequence[BackboneConfig], shape: str, users: int, seed: int,
          ) -> Iterator[tuple[int, ranking.Quality]]:
    """Quality of each trial on one hold-out of the train pairs: its place in `trials`, and the means over the users.

    Args:
        train: (users, items) CSR.
        trials: hyperparameters to compare.
        shape: of the hold-out.
        users: number of users to rank for, drawn from those with held-out pairs.
        seed: of everything random.
    """
    split = shaped(train, shape, SHARE, seed)
    asked = np.flatnonzero(lengths(split.test))
    asked = np.sort(np.random.default_rng(seed).permutation(asked)[:users])
    neighbours = Neighbours(split.train)
    alike: dict[tuple[Any, ...], list[int]] = {}
    for place, config in enumerate(trials):
        shared = {name: value for name, value in asdict(config).items() if name not in OF_HEAD}
        alike.setdefault(tuple(shared.values()), []).append(place)
    for places in alike.values():
        config = trials[places[0]]
        towers = fit_towers(normalised(split.train), config.dims, np.random.default_rng([seed, 0]))
        ranked = model.candidate_lists(PairFeatures(split.train, neighbours, towers), split.test, asked, config)
        rows = np.repeat(np.arange(len(asked)), np.diff(ranked.indptr))
        learned = model.head_lists(split.train, config, seed)
        for place in places:
            scores = model.learn_head(learned, trials[place], seed).score(ranked.inputs)
            top = model.top_of(scores, (len(asked), train.shape[1]), rows, ranked.items)
            yield place, ranking.quality(top, split.test[asked])


def trial(text: str) -> tuple[str, Mapping[str, Any]]:
    """Parses a trial such as `rate=0.01,epochs=8`: its name, and the hyperparameters that it changes.

    Raises:
        ConfigError: there is no such hyperparameter, or its value cannot be read.
    """
    defaults, changes = asdict(BackboneConfig()), {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in defaults:
            raise ConfigError(f"the backbone has no hyperparameter {name!r}; it has {', '.join(defaults)}")
        try:
            changes[name] = type(defaults[name])(value)
        except ValueError as error:
            raise ConfigError(f"{name} is {value!r}; give a value like {defaults[name]}") from error
    return text, changes


def main() -> None:
    """Prints Recall@20 / NDCG@20 of every trial on every hold-out, and their means."""
    parser = argparse.ArgumentParser(prog="python -m model.backbone.choose", description=__doc__)
    parser.add_argument("trials", nargs="*", metavar="KNOB=VALUE[,KNOB=VALUE]",
                        help="hyperparameters that a trial changes; none: the defaults")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.npz and test.npz")
    parser.add_argument("--users", type=int, default=3000, metavar="N", help="users to rank for (default %(default)s)")
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=SHAPES, help="hold-outs (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default %(default)s)")
    args = parser.parse_args()
    if args.users < 1:
        parser.error(f"--users is {args.users}; at least 1 is needed")
    try:
        named = [*map(trial, args.trials)] or [("defaults", {})]
        train = read_split(args.data).train
        found: list[list[ranking.Quality]] = [[] for _ in named]
        for shape in args.shapes:
            for place, quality in judge(train, [replace(BackboneConfig(), **changes) for _, changes in named], shape,
                                        args.users, args.seed):
                found[place].append(quality)
                print(f"{shape:8} {quality.recall:.4f} / {quality.ndcg:.4f}  {named[place][0]}", flush=True)
    except (ConfigError, DataError) as error:
        parser.error(str(error))
    print(f"| trial | {' | '.join(args.shapes)} | mean |\n|{' --- |' * (len(args.shapes) + 2)}")
    for (name, _), row in zip(named, found, strict=True):
        mean = ranking.Quality(float(np.mean([q.recall for q in row])), float(np.mean([q.ndcg for q in row])))
        print(f"| {name} | {' | '.join(f'{q.recall:.4f} / {q.ndcg:.4f}' for q in (*row, mean))} |")


if __name__ == "__main__":
    main()
