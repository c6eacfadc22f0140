"""The commands `train`, `evaluate` and `export` behind `python -m model`."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

from model.config import SIZES, ConfigError, HillConfig, OverArchName, PairsConfig, StackedLayer, TrainConfig
from model.data.load import load_dataset
from model.data.tables import DataError
from model.evaluation.quality import quality
from model.evaluation.tree_quality import compare_trees
from model.export.golden import ParityError
from model.export.seal import export as write_bundle
from model.training.checkpoint import RunFolder
from model.training.trainer import Trainer
from model.training.trainer import train as fit
from model.training.warm_start import continued

__all__ = ["ConfigError", "DataError", "ParityError", "add_train_arguments", "evaluate", "export", "train"]

DEFAULTS = TrainConfig()
DEFAULT_PHI = (0.8, 0.4)
"""The paper's choice on Gowalla."""


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `train`; what they leave out is `TrainConfig`'s default."""
    parser.add_argument("--data", type=Path, help="data folder that `python -m model data` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: settings, checkpoints, log")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, with its settings")
    parser.add_argument("--from", type=Path, dest="start_from", metavar="RUN",
                        help="start from the weights and the tree of RUN, on its data or newer; size, over-arch and "
                             "kind of tree are RUN's, all epochs have a tree, and the log tells how many ads moved")
    parser.add_argument("--phi", type=_shares, default=(), metavar="0.8,0.4",
                        help="test-time training of RUN: learn also index nodes of whose children a user is interested "
                             "in at least this share, from the leaf nodes upwards; the tree and all settings but the "
                             "epochs are RUN's, the learning rates a tenth (default with --beams: 0.8,0.4)")
    parser.add_argument("--interest", choices=["history", "beam", "union"],
                        help="what a user of --phi is interested in (default: beam with --beams, else history)")
    parser.add_argument("--beams", type=Path, nargs="+", default=[], metavar="FILE",
                        help="beams that the service recorded with a bundle of RUN")
    parser.add_argument("--control", choices=["real", "random"],
                        help="the controls of --phi: the same epochs on the log alone, or with random nodes")
    parser.add_argument("--epochs", type=int, default=DEFAULTS.epochs,
                        help="epochs before the first tree (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=DEFAULTS.rounds,
                        help="EM rounds: learn the tree, then train with it (default %(default)s)")
    parser.add_argument("--round-epochs", type=int, default=DEFAULTS.round_epochs,
                        help="epochs of a round (default %(default)s)")
    parser.add_argument("--branching", type=_branching, default=(), metavar="24x10x8",
                        help="children of a node at each level (default: by the number of ads)")
    parser.add_argument("--tree", choices=["em", "joint", "posthoc"], default=DEFAULTS.tree,
                        help="learn the tree by k-means between epochs, jointly with the model, or by k-means on the "
                             "finished item embeddings, the control (default %(default)s)")
    parser.add_argument("--codebooks", choices=["parent", "shared"], default=DEFAULTS.hill.codebooks,
                        help="of the joint tree: codes of their own for the children of each node, or one codebook a "
                             "level (default %(default)s)")
    parser.add_argument("--tree-gradient", choices=["stopped", "joint"], default=DEFAULTS.hill.gradient,
                        help="whether the joint tree's loss trains the item tower too (default %(default)s)")
    parser.add_argument("--node-features", choices=["maximum", "representative"], default=DEFAULTS.node_features,
                        help="interaction features of a node: maximum over its members, or its representative item's "
                             "(default %(default)s)")
    parser.add_argument("--size", choices=list(SIZES), default="small",
                        help="MoNN Small, Medium or Large (default %(default)s)")
    parser.add_argument("--stack", type=_stack, default=(), metavar="large@1[,medium@2]",
                        help="layers above that of the ads, coarse to fine, each a MoNN of a size for a level of the "
                             "tree, 1 the coarsest; --size and --over-arch are then those of the ads' layer")
    parser.add_argument("--lower-share", type=float, default=DEFAULTS.lower_share, metavar="SHARE",
                        help="in a stack, share of the log that trains its layers; the rest weighs them in the "
                             "ensemble (default %(default)s)")
    parser.add_argument("--over-arch", choices=get_args(OverArchName), default=DEFAULTS.model.over_arch,
                        help="dot trains the two-tower baseline (default %(default)s)")
    parser.add_argument("--task-weights", type=_weights, default={}, metavar="click=1,conversion=0.5",
                        help="weights of tasks in the loss (default: those that the log declares)")
    teacher = parser.add_mutually_exclusive_group()
    teacher.add_argument("--teacher", type=Path, metavar="RUN",
                         help="learn also what this run on the same data says of unlabeled pairs")
    teacher.add_argument("--teacher-file", type=Path, metavar="FILE",
                         help="learn also these soft labels: Parquet with user_id, ad_id and a column for each task")
    parser.add_argument("--batch-users", type=int, default=DEFAULTS.batch_users,
                        help="moments of users in a batch; logs of impressions take more (default %(default)s)")
    parser.add_argument("--forget-share", type=float, default=DEFAULTS.forget_share, metavar="SHARE",
                        help="share of ad ids trained as unknown; near 1 where the ads' fields say most and an ad has "
                             "few clicks (default %(default)s)")
    parser.add_argument("--negatives", type=int, default=DEFAULTS.negatives,
                        help="sampled negatives an example, for logs of positives (default %(default)s)")
    parser.add_argument("--holdout", type=float, default=0.0, metavar="SHARE",
                        help="hold out a share of the train events to choose settings by; test stays unseen")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default %(default)s)")


def _branching(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split("x"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 24x10x8") from error


def _stack(text: str) -> tuple[StackedLayer, ...]:
    try:
        parts = [part.split("@") for part in text.split(",")]
        return tuple(StackedLayer(int(level), SIZES[size]) for size, level in parts)  # type: ignore[index]
    except (ValueError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like large@1 or large@1,medium@2; sizes are "
                                         f"{', '.join(SIZES)}") from error


def _shares(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 0.8,0.4") from error


def _pairs(args: argparse.Namespace) -> PairsConfig | None:
    """What the arguments say of test-time training.

    Raises:
        ConfigError: some of it is asked for, but not on which run, or with which thresholds.
    """
    if not args.phi and not args.beams:
        if args.interest or args.control:
            raise ConfigError(f"{'--interest' if args.interest else '--control'} belongs to test-time training; give "
                              "--phi with it, such as --phi 0.8,0.4")
        return None
    if args.start_from is None:
        raise ConfigError("--phi and --beams train a run that has a tree; name it with --from")
    levels = len(RunFolder(args.start_from).config()[0].branching)
    return PairsConfig(args.phi or DEFAULT_PHI[:levels], args.interest or ("beam" if args.beams else "history"),
                       tuple(str(path.resolve()) for path in args.beams), args.control or "")


def _weights(text: str) -> dict[str, float]:
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name: float(weight) for name, weight in pairs}
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not like click=1,conversion=0.5") from error


def train(args: argparse.Namespace) -> None:
    """Trains a run, or goes on with one."""
    pairs = _pairs(args)
    if pairs is not None and args.data is None:
        args.data = RunFolder(args.start_from).config()[1]
    if args.resume:
        config, data = RunFolder(args.out).config()
    elif args.data is None:
        raise ConfigError("train needs --data, the folder that `python -m model data` wrote")
    else:
        config, data = TrainConfig(model=replace(SIZES[args.size], over_arch=args.over_arch),
                                   stack=args.stack, lower_share=args.lower_share,
                                   branching=args.branching, tree=args.tree,
                                   hill=HillConfig(codebooks=args.codebooks, gradient=args.tree_gradient),
                                   epochs=args.epochs, rounds=args.rounds, round_epochs=args.round_epochs,
                                   node_features=args.node_features, task_weights=args.task_weights,
                                   teacher=str(args.teacher.resolve()) if args.teacher else "",
                                   teacher_file=str(args.teacher_file.resolve()) if args.teacher_file else "",
                                   batch_users=args.batch_users, negatives=args.negatives,
                                   forget_share=args.forget_share, holdout=args.holdout, seed=args.seed), args.data
        if args.start_from is not None:
            config = continued(replace(config, epochs=0, start_from=str(args.start_from), pairs=pairs), args.start_from)
    fit(data, load_dataset(data), config, args.out, resume=args.resume)
    print(f"trained {args.out}; next: python -m model export --run {args.out} --out BUNDLE")


def evaluate(args: argparse.Namespace) -> None:
    """Prints the quality of a run; the last line is one JSON object."""
    trainer = _load(args.run)
    print(json.dumps(compare_trees(trainer) if args.trees else quality(trainer, args.users), allow_nan=False))


def export(args: argparse.Namespace) -> None:
    """Seals a run into a bundle."""
    trainer = _load(args.run)
    manifest = write_bundle(trainer, args.out, quality(trainer, args.users), half=args.half)
    print(f"sealed {args.out}: bundle {manifest.bundle_id}, beam width {manifest.search.beam_width}; "
          f"next: python -m service {args.out}")


def _load(path: Path) -> Trainer:
    run = RunFolder(path)
    config, data = run.config()
    trainer = Trainer(load_dataset(data), config, run)
    trainer.resume()
    return trainer
