"""The search: first the number of epochs, then one setting after the other, as long as the time allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from model.baselines.budget import Budget, SkippedError
from model.choice.alternatives import ALTERNATIVES, chosen_of, with_epochs
from model.choice.forecast import Forecast
from model.choice.measure import Measure, Reached
from model.choice.trial import OutOfTimeError, Pace, Trial, Trials
from model.config.errors import ConfigError
from model.config.train import TrainConfig
from model.data.load import Dataset
from model.progress.bars import Bar
from model.progress.lines import tell

EPOCHS = {"epochs", "rounds", "round_epochs"}
"""Settings that together make the number of epochs; if one of them is given, it is not chosen."""


@dataclass
class Search:
    """Looks for settings.

    Attributes:
        dataset: the log without what is held out.
        trials: on the hold-out.
        measure: on it.
        budget: of all that is left to do, the final training included.
        forecast: of the seconds.
        config: the settings so far; in the end the chosen ones.
        fixed: names of settings that are not chosen.
        best: the trial of the settings so far, or of fewer epochs where the time allowed no other.
        record: each trial for `choice.json`.
        reasons: what speaks for each setting's value, by name.
        learned: on a log of impressions with a trial, whether any beats a constant.
    """

    dataset: Dataset
    trials: Trials
    measure: Measure
    budget: Budget
    forecast: Forecast
    config: TrainConfig
    fixed: frozenset[str]
    best: Trial | None = None
    record: list[dict[str, Any]] = field(default_factory=list)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    learned: bool | None = None
    _finished: list[Trial] = field(default_factory=list)
    _pace: Pace | None = None
    _bar: Any = None

    def run(self) -> None:
        """Searches to the end of the time or of the alternatives."""
        with Bar(desc="trials", unit="trial", leave=False) as self._bar:
            if EPOCHS.isdisjoint(self.fixed):
                self._choose_epochs()
            else:
                self.best = self._tried(self.config)
                self.reasons["epochs"] = ["given"]
            if self.best is not None and self.best.config == self.config:
                self._choose_others()

    def settle(self, constant: Reached) -> None:
        """Takes the trial that differs least from a constant, if none beats it by more than the standard error."""
        if not self._finished:
            return
        gains = [self.measure.gain(trial.reached, constant) for trial in self._finished]
        self.learned = any(gain > error for gain, error in gains)
        if self.learned:
            return
        before = chosen_of(self.config)
        distances = [abs(trial.reached.values - constant.values).mean() for trial in self._finished]
        self.best = self._finished[distances.index(min(distances))]
        self.config = self.best.config
        for name, value in chosen_of(self.config).items():
            if value != before[name]:
                self.reasons.setdefault(name, []).append(f"{value} instead of {before[name]} is nearer to a constant")

    def seconds_over(self) -> float:
        """By how many seconds the final training may pass the budget; without a pace, 0 while time is left."""
        if self._pace is None:
            return 0.0 if self.budget.left else math.inf
        return max(0.0, self.forecast.refit(self.config, self._pace) - self.budget.left)

    def beside(self, config: TrainConfig, budget: Budget) -> Trial:
        """A trial that is not to be chosen.

        Args:
            config: of the trial.
            budget: of the trial alone.

        Raises:
            SkippedError: it is expected not to fit its budget, or the time that the final training leaves.
        """
        if self._pace is None:
            raise SkippedError("no trial of this model fits the time")
        budget.need(self.forecast.trial(config, self._pace))
        try:
            return self.trials.run(config, self._check(config))
        except (OutOfTimeError, ConfigError) as reason:
            raise SkippedError(str(reason)) from reason

    def _choose_epochs(self) -> None:
        """Doubles the number of epochs while that helps; halves it once if it never did."""
        default = self.config.all_epochs
        first = self._tried(with_epochs(self.config, default))
        if first is None:
            if default > 1:
                self.best = self._tried(with_epochs(self.config, 1))
            self.reasons["epochs"] = ["the default, since no trial of so many fits the time"]
            self._cut_epochs()
            return
        self.best, self.config = first, first.config
        while self._take_if_better(2 * self.config.all_epochs):
            pass
        if self.best is first and default > 1:
            self._take_if_better(default // 2)
        self.reasons.setdefault("epochs", ["the default, since no trial of another number fits the time"])

    def _cut_epochs(self) -> None:
        """Leaves as many epochs as the time allows, at least one."""
        while self.config.all_epochs > 1 and self.seconds_over() > 0:
            self.config = with_epochs(self.config, self.config.all_epochs - 1)
            self.reasons["epochs"] = ["no more fit the time, and no trial of so many"]

    def _take_if_better(self, epochs: int) -> bool:
        """Tries another number of epochs."""
        best = self.best
        assert best is not None
        trial = self._tried(with_epochs(self.config, epochs))
        if trial is None:
            return False
        gain, error = self.measure.gain(trial.reached, best.reached)
        taken = gain > 0
        self._note(trial, gain, error, taken, ["epochs"])
        if taken:
            self.best, self.config = trial, trial.config
        return taken

    def _choose_others(self) -> None:
        for alternative in ALTERNATIVES:
            config = alternative.of(self.config)
            if (not self.fixed & alternative.settings.keys() and config != self.config
                    and alternative.applies(self.config, self.dataset)):
                trial = self._tried(config)
                if trial is None:  # the time is up: the others take as long or longer
                    return
                self._compare(trial, alternative.settings)

    def _compare(self, trial: Trial, settings: Iterable[str]) -> None:
        """Takes other settings if they are better by more than the standard error."""
        assert self.best is not None
        gain, error = self.measure.gain(trial.reached, self.best.reached)
        taken = gain > error
        self._note(trial, gain, error, taken, settings)
        if taken:
            self.best, self.config, self._pace = trial, trial.config, trial.pace

    def _note(self, trial: Trial, gain: float, error: float, taken: bool, settings: Iterable[str]) -> None:
        """Records how the last trial compares with the best one before it, by the settings in which they differ."""
        self.record[-1] |= {"gain": gain, "standard_error_of_gain": error, "taken": taken}
        before, after = chosen_of(self.config), chosen_of(trial.config)
        for name in settings:
            self.reasons.setdefault(name, []).append(f"{after[name]} instead of {before[name]} gains {gain:+.4f} ± "
                                                     f"{error:.4f}")

    def _tried(self, config: TrainConfig) -> Trial | None:
        """A trial, told and recorded; None if it and the final training do not fit the time, or if it fails."""
        settings = chosen_of(config)
        entry: dict[str, Any] = {"settings": settings}
        self.record.append(entry)
        try:
            if self._pace is None and not self.budget.left:
                raise OutOfTimeError("no time is left")
            if self._pace is not None:
                self._check(config)(self._pace, self.forecast.trial(config, self._pace) - self.forecast.besides)
            trial = self.trials.run(config, self._check(config))
        except (OutOfTimeError, ConfigError) as reason:
            entry["skipped"] = str(reason)
            tell(f"trial {len(self.record)}: {self._words(settings)}: skipped, {reason}")
            return None
        self._bar.update()
        self._finished.append(trial)
        if len(self._finished) == 1:
            self._pace = trial.pace
        self.forecast.preparing = self.trials.preparing
        self.forecast.besides = max(0.0, trial.seconds - config.all_epochs * trial.pace.batches
                                    * trial.pace.batch_seconds)
        value, error = self.measure.mean(trial.reached)
        entry |= {"measure": value, "standard_error": error, "seconds": round(trial.seconds, 1),
                  "epochs": list(trial.epochs)}
        tell(f"trial {len(self.record)}: {self._words(settings)}: {self.measure.name} {value:.4f} ± {error:.4f}, "
              f"{trial.seconds:.0f} s")
        return trial

    def _check(self, config: TrainConfig) -> Callable[[Pace, float], None]:
        """A check that a trial and the longest final training that may follow still fit the time."""
        def check(pace: Pace, left: float) -> None:
            if not self._finished:
                self._pace, self.forecast.preparing = pace, self.trials.preparing
            after = max(self.forecast.refit(config, pace), self.forecast.refit(self.config, self._pace or pace))
            need = left + self.forecast.besides + after
            if need > self.budget.left:
                raise OutOfTimeError(f"it and the final training take about {need:,.0f} s more, and "
                                     f"{self.budget.left:,.0f} s are left")

        return check

    def _words(self, settings: dict[str, Any]) -> str:
        """The settings of a trial: epochs, and what differs from the settings so far."""
        now = chosen_of(self.config)
        others = [f"{name} {value}" for name, value in settings.items() if name != "epochs" and value != now[name]]
        return ", ".join([f"epochs {settings['epochs']}", *others])
