"""Calibration of a run's tasks, fitted and measured on test events, which trained nothing, each in its own context.

The earlier half of the events is fitted, the later half decides between Platt's scaling, isotonic regression and the
logits as they are, and measures what is sealed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize

from index_store.value.calibration import Calibration, Calibrations, sigmoid
from model.data.load import Events, joined
from model.data.tables import TRUTH
from model.examples.clicks import Clicks
from model.progress.lines import tell
from model.runs.run import Run
from model.sources.truth import TrueWorld
from model.training.normalized_entropy import impression_logits, log_losses

PICTURE = "calibration.png"

MOST_EVENTS = 400_000
"""Events that are scored, drawn at random; half of them fit a curve to a tenth of a percent."""

BINS = 20
"""Bins of equal size in which predictions and labels are compared."""

FEWEST = 200
"""Events in a bin that isotonic regression starts from."""

MOST_BINS = 200


@dataclass(frozen=True)
class Fitted:
    """The calibration of one task, and what it was measured to be on the later events.

    Attributes:
        method: `platt`, `isotonic`, or `none` if the logits are better as they are.
        measured: for evaluation.json.
    """

    method: str
    calibration: Calibration
    measured: Mapping[str, Any]


def calibrate(run: Run) -> dict[str, Fitted] | None:
    """Fits a calibration for each task of a run, and draws the reliability into its folder.

    Returns:
        None, and says why on standard error, if the run has no test events or its log no impressions.
    """
    test, spec = run.dataset.test, run.dataset.spec
    if spec.negatives != "impressions" or test is None or len(test) < 2:
        tell("no calibration is sealed: " + (
            "the log holds sampled negatives, which yield no probabilities" if spec.negatives != "impressions" else
            "there are no test events to fit it on; bring some, or train with --holdout"))
        return None
    both = Clicks.of(joined(run.dataset.train, test), len(run.dataset.user_ids))
    random = np.random.default_rng([run.config.seed, 16])
    if len(test) > MOST_EVENTS:
        chosen = np.zeros(len(test), np.bool_)
        chosen[random.permutation(len(test))[:MOST_EVENTS]] = True
        test = test.where(chosen)
    with run.reader.using_nodes(run.nodes() if run.config.stack else None):
        logits = impression_logits(run.reader, both, run.key_index, test)
    order = np.lexsort((random.random(len(test)), test.timestamps))
    truth = _truth(run, test)
    fitted = {task.name: fit(logits[order, at], test.labels[order, at], None if truth is None else truth[order, at])
              for at, task in enumerate(spec.tasks)}
    draw(fitted, run.folder.path / PICTURE)
    return fitted


def calibrations_of(fitted: Mapping[str, Fitted]) -> Calibrations:
    """As a bundle holds them."""
    return Calibrations(tuple(one.calibration for one in fitted.values()))


def fit(logits: NDArray[np.float32], labels: NDArray[np.integer],
        truth: NDArray[np.float64] | None = None) -> Fitted:
    """Fits a task.

    Args:
        logits, labels: (N,) of events in order; the first half is fitted, the second measured.
        truth: (N,) true probabilities, if they are known.
    """
    half = len(logits) // 2
    early, late = slice(None, half), slice(half, None)
    candidates = {"none": Calibration.line(1.0, 0.0), "platt": platt(logits[early], labels[early]),
                  "isotonic": isotonic(logits[early], labels[early])}
    losses = {method: float(log_losses(one(logits[late]), labels[late]).mean())
              for method, one in candidates.items() if one is not None}
    method = min(losses, key=losses.__getitem__)
    chosen = candidates[method]
    assert chosen is not None
    measured: dict[str, Any] = {"method": method, "fitted_on": half, "measured_on": len(logits) - half,
                                "log_loss": losses}
    for name, log_odds in (("before", logits[late]), ("after", chosen(logits[late]))):
        p = sigmoid(log_odds)
        curve = reliability(p, labels[late])
        measured[f"ece_{name}"], measured[f"reliability_{name}"] = ece(curve), curve
        if truth is not None:
            measured[f"true_ece_{name}"] = ece(reliability(p, truth[late]))
    return Fitted(method, chosen, measured)


def platt(logits: NDArray[np.float32], labels: NDArray[np.integer]) -> Calibration | None:
    """The line of least log loss; None if it does not rise, or the labels are all the same."""
    if labels.min() == labels.max():
        return None
    x, y = logits.astype(np.float64), labels.astype(np.float64)

    def loss(line: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = line[0] * x + line[1]
        off = sigmoid(z) - y
        return float((np.logaddexp(0.0, z) - y * z).mean()), np.array([(off * x).mean(), off.mean()])

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return Calibration.line(float(slope), float(intercept)) if slope > 0 else None


def isotonic(logits: NDArray[np.float32], labels: NDArray[np.integer]) -> Calibration | None:
    """The rising steps of least squared error over bins of events, joined from block to block; None for one block.

    Beyond the first and last block, where no events say more, the odds rise as the model's do.
    """
    bins = np.array_split(np.argsort(logits, kind="stable"), int(np.clip(len(logits) // FEWEST, 1, MOST_BINS)))
    rate = labels.mean()
    if not 0 < rate < 1:
        return None
    sizes = np.array([len(part) for part in bins], np.float64)
    # One more event a bin, with the mean label, keeps the odds of a bin without positives above 0.
    rates = np.array([(labels[part].sum() + rate) / (len(part) + 1) for part in bins])
    steps = isotonic_regression(rates, weights=sizes + 1).x
    log_odds, block = np.unique(np.round(np.log(steps / (1 - steps)), 9), return_inverse=True)
    means = np.array([logits[part].mean() for part in bins])
    x = np.bincount(block, sizes * means) / np.bincount(block, sizes)
    if len(x) < 2 or not (np.diff(x) > 0).all():
        return None
    return Calibration(np.array([x[0] - 1, *x, x[-1] + 1]), np.array([log_odds[0] - 1, *log_odds, log_odds[-1] + 1]))


def reliability(p: NDArray[np.float64], labels: NDArray[Any]) -> list[tuple[float, float, int]]:
    """Mean prediction, mean label and number of events in each of some bins of equal size, by rising prediction."""
    bins = np.array_split(np.argsort(p, kind="stable"), min(BINS, len(p)))
    return [(float(p[part].mean()), float(labels[part].mean()), len(part)) for part in bins]


def ece(curve: list[tuple[float, float, int]]) -> float:
    """Expected calibration error: the mean distance of prediction and label over the events of a reliability curve."""
    predicted, found, events = (np.array(column) for column in zip(*curve, strict=True))
    return float(np.average(np.abs(predicted - found), weights=events))


def draw(fitted: Mapping[str, Fitted], path: Path) -> None:
    """Plots the reliability of each task before and after."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(fitted), 4.2), layout="constrained")
    axes = figure.subplots(1, len(fitted), squeeze=False)[0]
    for axis, (task, one) in zip(axes, fitted.items(), strict=True):
        for name, mark in (("before", "x"), ("after", "o")):
            predicted, found, _ = zip(*one.measured[f"reliability_{name}"], strict=True)
            axis.plot(predicted, found, mark, fillstyle="none", label=f"{name}: ECE {one.measured[f'ece_{name}']:.2g}")
        axis.axline((0, 0), slope=1, color="black", linewidth=0.8)
        axis.set_title(f"{task} ({one.method})")
        axis.set_xlabel("mean prediction, a point a twentieth of the events")
        axis.set_ylabel("share with label 1")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def _truth(run: Run, events: Events) -> NDArray[np.float64] | None:
    """True probabilities (N, tasks) of events of a synthetic world, None of another log or of held-out events."""
    if not (run.data / TRUTH).is_dir() or run.config.holdout:
        return None
    logits = TrueWorld.open(run.data).event_logits(events, run.dataset.encoder)
    return None if logits is None else sigmoid(logits)
