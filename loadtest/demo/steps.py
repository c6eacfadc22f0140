"""Steps from a log to a bundle: log -> data folder -> run -> bundle, each run as the command that a user would type.

A step whose result exists is skipped; an interrupted training resumes from its checkpoint.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from index_store.bundle.manifest import MANIFEST
from loadtest.processes.children import Children
from model.data.tables import SPEC

_FINISHED = "finished"
"""File that marks a finished run, which looks like any of its checkpoints."""


class DemoError(Exception):
    """A step failed; the message says why and what to do."""


@dataclass(frozen=True)
class WorldSize:
    """Size of a synthetic world and of the training on it.

    The defaults are those of the demo, which takes a minute and a half on two quiet cores.

    Attributes:
        ads, users, events: size of the synthetic world.
        epochs, rounds, round_epochs, batch_users, forget_share: flags of `train`: epochs without a tree, EM rounds,
            epochs per round, users per batch, share of ad ids trained as unknown.
        quality_users: test users on which `export` measures recall.
        seed: of the world.
    """

    ads: int = 20_000
    users: int = 50_000
    events: int = 1_000_000
    epochs: int = 2
    rounds: int = 1
    round_epochs: int = 1
    batch_users: int = 1024
    quality_users: int = 200
    forget_share: float = 0.9
    seed: int = 0


@dataclass(frozen=True)
class Source:
    """Where a log comes from: its name for `python -m model data`, and its folder unless it is synthetic."""

    name: str
    folder: Path | None = None


SYNTHETIC = Source("synthetic")


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        what: its result, in words.
        folder: folder of the result.
        result: file in the folder that exists once the step is finished.
        arguments: of `python -m model`; called when the step starts.
    """

    what: str
    folder: Path
    result: str
    arguments: Callable[[], list[str]]


@dataclass(frozen=True)
class StepCost:
    """Cost of a finished step: seconds, and peak memory of its process in bytes."""

    command: str
    seconds: float
    peak_bytes: int


def ignore_cost(what: str, cost: StepCost) -> None:
    """Default for callers that do not need the cost of a step."""


def make_bundle(children: Children, folder: Path, source: Source, size: WorldSize, *,
                over_arch: str = "wukong", note: Callable[[str, StepCost], None] = ignore_cost) -> Path:
    """Makes whatever is missing of data, run and bundle in a folder, and returns the bundle.

    Args:
        children: owns the processes.
        folder: for the three results.
        source: of the log.
        size: of the world and the training.
        over_arch: of `train`; unless it is `wukong`, its name is appended to those of run and bundle.
        note: called with the name of each finished step's folder and its cost.

    Raises:
        DemoError: a step failed.
    """
    steps = _steps(folder, source, size, over_arch)
    anew = False
    for number, step in enumerate(steps, start=1):
        title = f"[{number}/{len(steps)}] {step.what}"
        if not anew and (step.folder / step.result).exists():
            print(f"{title}: {step.folder} exists already; remove that folder to make it again", flush=True)
            continue
        if anew:  # made from earlier results
            shutil.rmtree(step.folder, ignore_errors=True)
        anew = True
        cost = run_step(children, title, ["-m", "model", *step.arguments()])
        if step.result == _FINISHED:
            (step.folder / _FINISHED).touch()
        note(step.folder.name, cost)
    return steps[-1].folder


def _steps(folder: Path, source: Source, size: WorldSize, over_arch: str) -> list[Step]:
    suffix = "" if over_arch == "wukong" else f"_{over_arch}"
    table, run, bundle = folder / "data", folder / f"run{suffix}", folder / f"bundle{suffix}"
    world = ["--ads", str(size.ads), "--users", str(size.users), "--events", str(size.events),
             "--seed", str(size.seed)]
    origin = world if source.folder is None else ["--source", str(source.folder)]

    def training() -> list[str]:
        if (run / "weights.safetensors").exists():  # a checkpoint of an interrupted training
            return ["train", "--out", str(run), "--resume"]
        shutil.rmtree(run, ignore_errors=True)
        # A real log is trained with the defaults, which were tuned on one; to choose settings takes several trainings.
        settings = [] if source.folder is not None else [
            "--epochs", str(size.epochs), "--rounds", str(size.rounds), "--round-epochs", str(size.round_epochs),
            "--batch-users", str(size.batch_users), "--forget-share", str(size.forget_share)]
        kind = ["--over-arch", over_arch] if suffix else []
        return ["train", "--data", str(table), "--out", str(run), "--minutes", "0", *kind, *settings]

    return [Step(f"{source.name} log as tables", table, SPEC,
                 lambda: ["data", source.name, "--out", str(table), *origin]),
            Step("model and tree", run, _FINISHED, training),
            Step("bundle", bundle, MANIFEST,
                 lambda: ["export", "--run", str(run), "--out", str(bundle), "--users", str(size.quality_users),
                          "--baselines", "none"])]  # they take as long as the training


def run_step(children: Children, title: str, arguments: list[str]) -> StepCost:
    """Runs `python` with these arguments.

    Raises:
        DemoError: it failed.
    """
    print(f"{title}: python {shlex.join(arguments)}", flush=True)
    # SIGINT, because training writes a checkpoint when it gets one.
    started = time.monotonic()
    ended = children.wait(children.start([sys.executable, *arguments], ending=signal.SIGINT))
    if ended.status:
        raise DemoError(f"{title} failed with exit code {ended.status}, its output is above; the command was `python "
                        f"{shlex.join(arguments)}`; fix the cause and start again: it continues from here")
    cost = StepCost(f"python {shlex.join(arguments)}", time.monotonic() - started, ended.peak_bytes)
    print(f"{title}: done in {cost.seconds:.0f} s, peak memory {cost.peak_bytes / 2**30:.2f} GiB", flush=True)
    return cost
