"""`python -m model data|train|evaluate|export`: from an ad log to a sealed bundle; `experiment`: the paper's tables."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

DESCRIPTION = """From an ad log to a sealed bundle, in three steps:

  python -m model data taobao-ad --source DIR --out data/taobao
  python -m model train --data data/taobao --out runs/taobao
  python -m model export --run runs/taobao --out bundles/taobao
"""


def main() -> int:
    """Exit status: 0 fine, 1 something a person can mend (told on stderr), 130 interrupted (checkpoint kept)."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("pyarrow") is None:
        print("error: the offline job needs the train extra; install it with `pip install 'monn-hill[train]'`",
              file=sys.stderr)
        return 1
    from index_store.bundle.manifest import BundleError
    from index_store.features.values import FeatureError
    from model.commands import ConfigError, DataError, ParityError, add_train_arguments, evaluate, export, train
    from model.data import cli
    from model.experiments import cli as experiments
    from model.training.memory import keep_freed_memory

    parser = argparse.ArgumentParser(prog="python -m model", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser("data", help="bring a log into the table format", description=cli.__doc__)
    cli.add_arguments(data)
    add_train_arguments(commands.add_parser("train", help="train MoNN and learn the tree"))
    experiments.add_arguments(commands.add_parser("experiment", help="one of the paper's tables on a data folder",
                                                  description=experiments.__doc__))
    for name, about in (("evaluate", "quality of a run on the events that it did not train on"),
                        ("export", "seal model and tree into a bundle")):
        command = commands.add_parser(name, help=about)
        command.add_argument("--run", type=Path, required=True, help="folder that `train` wrote")
        if name == "export":
            command.add_argument("--out", type=Path, required=True, help="bundle to write; it must not exist")
            command.add_argument("--half", action="store_true",
                                 help="store embeddings as float16: half the memory, scores within 0.01")
        else:
            command.add_argument("--trees", action="store_true",
                                 help="compare the run's tree with k-means trees over the same model instead: overlap "
                                      "with the exhaustive answer at 1, 2 and 5 %% of its pairs")
        command.add_argument("--users", type=int, default=0 if name == "evaluate" else 1000, metavar="N",
                             help="test users to ask for recall, 0 = all (default %(default)s)")
    args = parser.parse_args()
    keep_freed_memory()
    try:
        if args.command == "data":
            return cli.run(args)
        {"train": train, "evaluate": evaluate, "export": export, "experiment": experiments.run}[args.command](args)
    except (ConfigError, DataError, FeatureError, ParityError, BundleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; a training run goes on from its checkpoint with --resume, an experiment when it is asked "
              "for again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
