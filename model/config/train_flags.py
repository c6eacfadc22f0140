"""Command-line flags of `train`, derived from the fields of the settings."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from model.config.errors import ConfigError
from model.config.flag import Flag
from model.config.hill import HillConfig
from model.config.monn import SIZES, MoNNConfig
from model.config.pairs import PairsConfig
from model.config.train import TrainConfig


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declares a flag for every field of the settings that has one, and `--size`."""
    parser.add_argument("--size", choices=list(SIZES), default=argparse.SUPPRESS,
                        help="MoNN Small, Medium or Large (default small)")
    for config in (MoNNConfig, TrainConfig, HillConfig, PairsConfig):
        kinds = get_type_hints(config)
        for field in fields(config):
            if "flag" in field.metadata:
                _add(parser, field, kinds[field.name])


def _add(parser: argparse.ArgumentParser, field: Field[Any], kind: Any) -> None:
    """Declares the flag of one field; without it on the command line, the field keeps its default."""
    flag: Flag = field.metadata["flag"]
    # The default of a tuple or text is to do without; where there is more to say, the help says it.
    shown = "" if field.default in (MISSING, (), "") or "(default" in flag.help else f" (default {field.default})"
    options: dict[str, Any] = {"help": flag.help + shown, "default": argparse.SUPPRESS}
    if get_origin(kind) is Literal:
        options["choices"] = [choice for choice in get_args(kind) if choice]
    else:
        options |= {"type": _checked(flag.parse) if flag.parse else kind, "metavar": flag.metavar}
    if flag.many:
        options["nargs"] = "+"
    parser.add_argument(f"--{flag.name or field.name.replace('_', '-')}", dest=field.name, **options)


def _checked(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """The field's parser, with errors of the kind that argparse shows unchanged."""
    def read(text: str) -> Any:
        try:
            return parse(text)
        except ConfigError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def train_config(args: argparse.Namespace, others: TrainConfig | None = None) -> TrainConfig:
    """The settings given by the flags, for a run that does not start from another.

    Args:
        args: parsed.
        others: settings that no flag gives; None for the defaults.
    """
    others = others or TrainConfig()
    values = given(args, TrainConfig)
    values.pop("start_from", None)
    model = replace(SIZES[args.size], over_arch=others.model.over_arch) if "size" in args else others.model
    return replace(others, **values, model=replace(model, **given(args, MoNNConfig)),
                   hill=replace(others.hill, **given(args, HillConfig)))


def names_given(args: argparse.Namespace) -> frozenset[str]:
    """Names of all settings that were given on the command line, and `size` if it was."""
    found = {name for config in (MoNNConfig, TrainConfig, HillConfig, PairsConfig) for name in given(args, config)}
    return frozenset(found | ({"size"} if "size" in args else set()))


def given(args: argparse.Namespace, config: type) -> dict[str, Any]:
    """The fields of a settings class that were given on the command line."""
    values = {field.name: getattr(args, field.name) for field in fields(config) if field.name in args}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
