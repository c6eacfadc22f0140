"""Training, evaluation and export of a run."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.config.errors import ConfigError
from model.config.pairs import PairsConfig
from model.config.train import TrainConfig
from model.config.train_flags import add_flags, given, names_given, train_config

if TYPE_CHECKING:
    from model.cluster.training import RayTraining
    from model.progress.range_workers import RangeWorkers

TEST_USERS = 2_000
"""Of whom `evaluate` and `export` measure recall by default, to within 0.007 or so."""

DEFAULT_PHI = (0.8, 0.4)
"""The paper's choice on Gowalla."""


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `train`."""
    parser.add_argument("--data", type=Path, help="data folder that `python -m model data` wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run: settings, checkpoints, log")
    parser.add_argument("--resume", action="store_true",
                        help="continue from the checkpoint in --out, with its settings")
    parser.add_argument("--minutes", type=_minutes, metavar="M",
                        help="time for everything: a quarter for baselines on a hold-out of the train events, the rest "
                             "for trials of the number of epochs and then of other settings there, and for the final "
                             "training on all train events. Settings that are given are not chosen; choice.json in "
                             "--out says what was chosen and why. 0 trains with the defaults at once (default: 20 for "
                             "a million train events, 10 for an eighth of that, at least 3; 0 with --from, --stack, "
                             "--settings)")
    parser.add_argument("--settings", type=Path, metavar="FILE",
                        help="repeat the settings in the config.json of a run; other flags that are given win")
    _add_workers(parser, "processes that train the run together")
    _add_json(parser)
    add_flags(parser)


def add_evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `evaluate`."""
    _add_run_arguments(parser, required=False)
    parser.add_argument("--trees", action="store_true",
                        help="compare the run's tree with k-means trees over the same model instead: overlap with the "
                             "exhaustive answer at 1, 2 and 5 %% of its pairs")
    parser.add_argument("--foundation", type=Path, nargs="+", default=[], metavar="RUN",
                        help="with --run: what the stored pairs of this foundation model would be worth instead, by "
                             "coverage; both runs need the same --holdout, and the log test events besides")
    parser.add_argument("--off-policy", metavar="LOG",
                        help="instead of a run, estimate from a log of answers that explored (a change log, by path or "
                             "URL, or a Parquet table) what they earned, what they would have without exploration, and "
                             "with --bundle what that bundle would; see docs/data.md")
    parser.add_argument("--bundle", type=Path,
                        help="with --run: bundle of that run, whose beam is asked about the same users; with "
                             "--off-policy: bundle to estimate")
    parser.add_argument("--reward", choices=("click", "ecpm"), default="click",
                        help="with --off-policy: clicks for each ad shown, or what ads pay for a thousand impressions, "
                             "in micros; the bundle then ranks by it (default %(default)s)")


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `export`."""
    _add_run_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, help="bundle to write; it must not exist")
    parser.add_argument("--float32", action="store_true",
                        help="store embeddings as float32: twice their memory, scores within 0.0001 of the model's "
                             "instead of 0.01")
    parser.add_argument("--changes-included", type=int, default=0, metavar="N",
                        help="sequence number of the last change of the change log that the run's data include; the "
                             "service replays what came later (default %(default)s)")
    parser.add_argument("--change-log-id", default="", metavar="ID",
                        help="id of that log, as `python -m index_store changes show` prints it; the bundle will then "
                             "serve with no other log")
    of_foundation = parser.add_mutually_exclusive_group()
    of_foundation.add_argument("--foundation", type=Path, nargs="+", default=[], metavar="RUN",
                               help="use the stored pairs of this foundation model, one or more runs on the same data "
                                    "and with the same --holdout: fits to it, on the events that all hold out, what "
                                    "its pairs add to the ads' logits (docs/operations.md, Speculation)")
    of_foundation.add_argument("--as-foundation", action="store_true",
                               help="also write the graph by which `python -m service.speculation` asks this run about "
                                    "pairs")
    _add_workers(parser, "processes that share the scoring and embedding of all ads, range by range")
    _add_json(parser)


def _add_workers(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--workers", type=_workers, default=1, metavar="N",
                        help=f"{what}, on Ray: on the cluster that RAY_ADDRESS names, else on this machine (default "
                             "%(default)s, without Ray)")
    parser.add_argument("--oversubscribe", action="store_true", help="allow more workers than there are cores")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true",
                        help="print one JSON object on standard output; all else goes to standard error anyway")


def _add_run_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    parser.add_argument("--run", type=Path, required=required, help="folder that `train` wrote")
    parser.add_argument("--users", type=_users, default=TEST_USERS, metavar="N",
                        help="test users to measure recall with, drawn by the run's seed; all = everyone (default "
                             "%(default)s)")
    parser.add_argument("--baselines", choices=("some", "all", "none"), default="some",
                        help="what to compare the run with, on the same train events and users: popularity, item "
                             "cosine, iALS, EASE, two towers, and for impressions a constant and logistic regression; "
                             "all = EASE on catalogues of more than 10,000 ads too (default %(default)s)")


def _users(text: str) -> int:
    """A number of users, 0 for all."""
    if text == "all":
        return 0
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a number of users; give one of at least 1, or all")
    return int(text)


def _workers(text: str) -> int:
    """A number of workers."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of workers; give one of at least 1")
    return int(text)


def _minutes(text: str) -> float:
    """A number of minutes."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 <= minutes < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes; give one of at least 0")
    return minutes


def train(args: argparse.Namespace) -> None:
    """Trains a run with settings that are chosen or given, or continues one.

    Raises:
        ConfigError, DataError: settings or data cannot be used.
    """
    # Imported here, as below: torch takes a second to load, and help needs none of it.
    from model.baselines.budget import Budget
    from model.choice.choose import FILE, choose_and_train, default_minutes
    from model.data.load import load_dataset
    from model.evaluation.epoch_figures import EpochFigures
    from model.report.page import write_page
    from model.runs.checkpoint import RunFolder
    from model.training.log_checks import check_log
    from model.training.trainer import train as fit_alone

    began, chooses = time.monotonic(), _chooses(args)
    config, data = _settings(args)
    if not args.resume:
        RunFolder(args.out).check_unused()
        (args.out / FILE).unlink(missing_ok=True)  # of a choice that was interrupted before its training
    fit = fit_alone if args.workers == 1 else _on_ray(args, config)
    dataset = load_dataset(data)
    if not args.resume:
        check_log(dataset, config)
    if chooses:
        minutes = default_minutes(len(dataset.train)) if args.minutes is None else args.minutes
        run = choose_and_train(data, dataset, config, args.out, names_given(args), Budget(60 * minutes, began), fit)
    else:
        run = fit(data, dataset, config, args.out, resume=args.resume, held_out=EpochFigures)
    page = write_page(run)
    if args.json:
        print(json.dumps({"run": str(args.out), "page": str(page), "settings": run.config.to_json(),
                          "seconds": round(time.monotonic() - began, 1)}))
    else:
        print(f"trained {args.out}, a page for people: {page}; next: python -m model export --run {args.out} "
              "--out BUNDLE")


def _on_ray(args: argparse.Namespace, config: TrainConfig) -> RayTraining:
    """Training by several workers, refused before any work if these settings or this Ray do not allow it."""
    from model.cluster.training import RayTraining, check_settings

    check_settings(config)
    return RayTraining(args.workers, args.oversubscribe)


def _ranges_on_ray(args: argparse.Namespace) -> RangeWorkers:
    """Workers for ranges on Ray."""
    from model.cluster.connection import connect
    from model.cluster.ranges import RayRanges

    return RayRanges(args.workers, connect(args.workers, args.oversubscribe))


def _chooses(args: argparse.Namespace) -> bool:
    """Whether settings are to be chosen.

    Raises:
        ConfigError: there is a budget, but nothing to choose.
    """
    decided = {"--resume": args.resume, "--settings": args.settings, "--from": "start_from" in args,
               "--stack": "stack" in args}
    for flag, is_given in decided.items():
        if is_given and args.minutes:
            raise ConfigError(f"--minutes is {args.minutes:g}, but with {flag} there is nothing to choose; leave one "
                              "of the two out")
    return args.minutes != 0 and not any(decided.values())


def _settings(args: argparse.Namespace) -> tuple[TrainConfig, Path]:
    """Settings and data folder of the run to train."""
    from model.runs.checkpoint import RunFolder, read_settings
    from model.runs.warm_start import continued

    start_from = Path(args.start_from) if "start_from" in args else None
    pairs = _pairs(args, start_from)
    if args.resume:
        return RunFolder(args.out).config()
    data = args.data
    if data is None and pairs is not None and start_from is not None:
        data = RunFolder(start_from).config()[1]
    if data is None:
        raise ConfigError("train needs --data, the folder that `python -m model data` wrote")
    config = train_config(args, read_settings(args.settings) if args.settings else None)
    if not config.rounds:
        raise ConfigError("rounds is 0; at least 1 is needed, since the service searches a tree")
    if start_from is not None:
        config = continued(replace(config, epochs=0, start_from=str(start_from), pairs=pairs), start_from)
    return config, data


def _pairs(args: argparse.Namespace, start_from: Path | None) -> PairsConfig | None:
    """Settings of test-time training; None if no flag asks for it.

    Raises:
        ConfigError: some of its flags are given, but no thresholds and beams, or not the run.
    """
    from model.runs.checkpoint import RunFolder

    values = given(args, PairsConfig)
    if not {"phi", "beams"} & set(values):
        for name in values:
            raise ConfigError(f"--{name} is a flag of test-time training; give --phi with it, such as --phi 0.8,0.4")
        return None
    if start_from is None:
        raise ConfigError("--phi and --beams fine-tune a run that has a tree; name it with --from")
    levels = len(RunFolder(start_from).config()[0].branching)
    defaults: dict[str, Any] = {"phi": DEFAULT_PHI[:levels], "interest": "beam" if "beams" in values else "history"}
    return PairsConfig(**defaults | values)


def evaluate(args: argparse.Namespace) -> None:
    """Prints one JSON object: the quality of a run beside the baselines, whose page it writes, or off-policy estimates.

    Raises:
        ConfigError: neither is asked for, or both are.
        DataError: the log cannot be used.
    """
    if (args.run is None) == (args.off_policy is None):
        raise ConfigError("evaluate needs --run RUN, or --off-policy LOG, and takes one of the two")
    if args.off_policy is not None:
        from model.evaluation.off_policy_report import off_policy

        print(json.dumps(off_policy(args.off_policy, args.bundle, args.reward), allow_nan=False))
        return
    from model.evaluation.beside_baselines import beside_baselines
    from model.evaluation.quality import quality
    from model.evaluation.served_quality import as_served
    from model.evaluation.speculated_quality import speculated_quality
    from model.evaluation.tree_quality import compare_trees
    from model.progress.lines import tell
    from model.report.page import write_page
    from model.runs.run import Run
    from model.speculation.foundation import open_foundation

    if args.trees and args.bundle is not None:
        raise ConfigError(f"--trees compares trees of the run, and --bundle asks {args.bundle}; give one of the two")
    if args.foundation and (args.trees or args.bundle is not None):
        raise ConfigError("--foundation tells what its stored pairs are worth to the run, instead of what --trees or "
                          "--bundle tell; give one of them")
    run = Run.open(args.run)
    if args.foundation:
        found = speculated_quality(run, open_foundation(args.foundation, run))
    elif args.trees:
        found = compare_trees(run)
    else:
        served = {"served": as_served(run, args.bundle, args.users)} if args.bundle is not None else {}
        found = beside_baselines(run, quality(run, args.users), args.users, args.baselines) | served
        tell(f"a page for people: {write_page(run, found)}")
    print(json.dumps(found, allow_nan=False))


def export(args: argparse.Namespace) -> None:
    """Seals a run into a bundle.

    Raises:
        ConfigError, DataError: run, data or Ray cannot be used.
    """
    from model.evaluation.beside_baselines import beside_baselines
    from model.evaluation.quality import quality
    from model.export.seal import export as write_bundle
    from model.progress.range_workers import HERE
    from model.report.page import write_page
    from model.runs.run import Run
    from model.speculation.foundation import open_foundation

    workers = HERE if args.workers == 1 else _ranges_on_ray(args)
    run = Run.open(args.run)
    foundation = open_foundation(args.foundation, run) if args.foundation else []
    found = beside_baselines(run, quality(run, args.users, workers), args.users, args.baselines)
    manifest = write_bundle(run, args.out, found, half=not args.float32, changes_included=args.changes_included,
                            change_log_id=args.change_log_id, workers=workers, foundation=foundation,
                            as_foundation=args.as_foundation)
    page = write_page(run, found)
    if args.json:
        print(json.dumps({"bundle": str(args.out), "bundle_id": manifest.bundle_id, "page": str(page),
                          "beam_width": manifest.search.beam_width}))
    else:
        print(f"sealed {args.out}: bundle {manifest.bundle_id}, beam width {manifest.search.beam_width}; "
              f"a page for people: {page}; next: python -m service {args.out}; or, so that ads and users can change "
              f"while it serves: python -m index_store promote {args.out.parent} {args.out.name}, "
              f"python -m service {args.out.parent}")
