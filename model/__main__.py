"""`python -m model data|train|evaluate|export`: from an ad log to a sealed bundle; `experiment`: the paper's tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

DESCRIPTION = """From an ad log to a sealed bundle, in three steps:

  python -m model data taobao-ad --source DIR --out data/taobao
  python -m model train --data data/taobao --out runs/taobao
  python -m model export --run runs/taobao --out bundles/taobao
"""


class Command(NamedTuple):
    """A command, given by the names of its module and functions, so that only the one that runs is imported.

    Attributes:
        module: to import.
        declare: function that declares the arguments on a parser.
        run: function of the parsed arguments; returns an exit status, or None for 0.
        help: one line.
    """

    module: str
    declare: str
    run: str
    help: str


COMMANDS = {
    "data": Command("model.sources.cli", "add_arguments", "run", "convert a log into the table format"),
    "train": Command("model.commands", "add_train_arguments", "train", "train MoNN and learn its tree"),
    "experiment": Command("model.experiments.cli", "add_arguments", "run",
                          "one of the paper's tables on a data folder"),
    "evaluate": Command("model.commands", "add_evaluate_arguments", "evaluate",
                        "quality of a run on the events that it did not train on"),
    "export": Command("model.commands", "add_export_arguments", "export", "seal model and tree into a bundle"),
    "label": Command("model.follow.labelling", "add_arguments", "run",
                     "what a run predicts of the impressions that came after it, for a student to learn"),
    "follow": Command("model.follow.cli", "add_arguments", "run", "learn from the change log, window by window"),
}


def main(words: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        words: of the command line; None for those of this process.

    Returns:
        Exit status: 0 fine, 1 an error that a user can fix (printed to stderr), 130 interrupted (checkpoint kept).
    """
    if find_spec("torch") is None or find_spec("pyarrow") is None:
        print("error: the offline job needs the train extra; install it with `pip install 'monn-hill[train]'`",
              file=sys.stderr)
        return 1
    args = _arguments(sys.argv[1:] if words is None else words)
    from index_store.bundle.manifest import BundleError
    from index_store.declaration.values import FeatureError
    from model.config.errors import ConfigError
    from model.data.tables import DataError
    from model.export.errors import ParityError
    from model.training.memory import keep_freed_memory

    keep_freed_memory()
    command = COMMANDS[args.command]
    try:
        return getattr(import_module(command.module), command.run)(args) or 0
    except (ConfigError, DataError, FeatureError, ParityError, BundleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; a training run continues from its checkpoint with --resume, an experiment or a choice of "
              "settings when it is started again", file=sys.stderr)
        return 130


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    """Parses the command line; imports the module of the named command only."""
    parser = argparse.ArgumentParser(prog="python -m model", description=DESCRIPTION,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    named = next((word for word in words if not word.startswith("-")), None)
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.help)
        if name == named:
            module = import_module(command.module)
            own.description = command.help
            getattr(module, command.declare)(own)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
