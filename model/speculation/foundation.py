"""Foundation models: runs that are too large to serve, and whose interaction embeddings of pairs are stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from model.config.errors import ConfigError
from model.network.monn import MoNN
from model.runs.run import Run


def model_hash(model: MoNN) -> str:
    """First 16 hex digits of the hash of all weights: autoencoders and graphs of a model name it by this."""
    digest = hashlib.sha256()
    for name, values in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def interaction_width(model: MoNN) -> int:
    """Width H of the interaction embeddings of a Wukong."""
    config = model.config
    return (config.fm_tokens + config.linear_tokens) * config.dim


def foundation_hash(foundation: Sequence[Run]) -> str:
    """Hash of a foundation model, those of its runs one after the other."""
    return "+".join(model_hash(run.model) for run in foundation)


def check_foundation(run: Run) -> None:
    """Refuses a run that cannot be a foundation model.

    Raises:
        ConfigError: it is a stack, or its over-arch is not Wukong.
    """
    config, path = run.config, run.folder.path
    if config.stack:
        raise ConfigError(f"the foundation model {path} is a stack, whose logits of an ad need its tree; name a run of "
                          "one layer, such as its largest one trained alone")
    if config.model.over_arch != "wukong":
        raise ConfigError(f"the foundation model {path} has the over-arch {config.model.over_arch}; only that of a "
                          "Wukong has last tokens to store, so train it with --over-arch wukong")


def open_foundation(paths: Sequence[Path], run: Run) -> list[Run]:
    """The foundation model of a run that is to be served: one run or several.

    Raises:
        ConfigError: there is no run, it cannot be a foundation model, it has learned what the other one holds out, or
            that one is a stack or has nothing to learn from.
        DataError: its data folder cannot be read.
    """
    served, named = run.folder.path, ", ".join(map(str, paths))
    if run.dataset.spec.negatives != "impressions":
        raise ConfigError(f"{run.data} is a log of positives; what a foundation model adds is learned from the labels "
                          "of shown pairs, so leave out --foundation")
    if run.config.stack:
        raise ConfigError(f"the run {served} is a stack, whose logits of an ad need its tree, so what {named} adds "
                          "to them cannot be fitted; name a run of one layer, or leave out --foundation")
    if run.dataset.test is None or len(run.dataset.test) < 2:
        raise ConfigError(f"the run {served} has no held-out or test events to learn from what {named} adds; train all "
                          "of them with --holdout")
    return [_opened(path, run) for path in paths]


def _opened(path: Path, run: Run) -> Run:
    """One run of a foundation model."""
    served, foundation = run.folder.path, Run.open(path)
    check_foundation(foundation)
    if foundation.data != run.data:
        raise ConfigError(f"the foundation model {path} was trained on {foundation.data}, the run {served} on "
                          f"{run.data}; name one of the same data")
    if foundation.config.holdout != run.config.holdout:
        raise ConfigError(f"the foundation model {path} held out {foundation.config.holdout} of the events, the run "
                          f"{served} {run.config.holdout}, so one has learned events that the adapter is fitted on; "
                          "train both with the same --holdout")
    if run.config.holdout and not run.dataset.spec.history_ordered and foundation.config.seed != run.config.seed:
        raise ConfigError(f"the foundation model {path} held out pairs drawn by seed {foundation.config.seed}, the run "
                          f"{served} by seed {run.config.seed}, so one has learned events that the adapter is fitted "
                          "on; train both with the same --seed, as the log has no order")
    foundation.model.eval()
    return foundation
