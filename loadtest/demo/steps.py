"""From a log to a bundle: log -> data folder -> run -> bundle, each step as the command that a person would type.

A step whose result is there already is not repeated; an interrupted training goes on from its checkpoint.
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
"""The demo's mark on a run: all its checkpoints look alike."""


class DemoError(Exception):
    """The demo, or another maker of bundles, cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class WorldSize:
    """How large a synthetic world is and how long a model learns it.

    The defaults are the demo's, so that all of it takes less than four minutes on two cores.

    Attributes:
        ads, users, events: size of the synthetic world.
        epochs, rounds, round_epochs, batch_users, forget_share: of `train`: epochs without a tree, EM rounds, epochs of
            each round, moments of users in a batch, share of ad ids trained as unknown.
        quality_users: test users that `export` measures recall on.
        seed: of the world.
    """

    ads: int = 20_000
    users: int = 50_000
    events: int = 1_000_000
    epochs: int = 3
    rounds: int = 1
    round_epochs: int = 1
    batch_users: int = 1024
    quality_users: int = 200
    forget_share: float = 0.9
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        what: what it makes, in words.
        folder: where.
        result: a file in the folder that is there once the step is finished.
        arguments: of `python -m model`; called when the step is due.
    """

    what: str
    folder: Path
    result: str
    arguments: Callable[[], list[str]]


@dataclass(frozen=True)
class StepCost:
    """What a finished step took: seconds, and the most memory in bytes that its process held."""

    command: str
    seconds: float
    peak_bytes: int


def ignore(what: str, cost: StepCost) -> None:
    """For those who do not want to know what a step cost."""


def make_bundle(children: Children, folder: Path, data: str, source: Path | None, size: WorldSize, *,
                over_arch: str = "wukong", note: Callable[[str, StepCost], None] = ignore) -> Path:
    """Makes what is missing of data, run and bundle in `folder`, and returns the bundle.

    Args:
        children: owns the processes.
        folder: holds the three results.
        data: name of the source.
        source: folder of the source; None for a synthetic one.
        size: how much to do.
        over_arch: of `train`; run and bundle of another than `wukong` bear its name.
        note: called with the name of each step's folder and what it cost, once it is finished.

    Raises:
        DemoError: a step failed.
    """
    steps = _steps(folder, data, source, size, over_arch)
    anew = False
    for number, step in enumerate(steps, start=1):
        title = f"[{number}/{len(steps)}] {step.what}"
        if not anew and (step.folder / step.result).exists():
            print(f"{title}: {step.folder} has it already; remove that folder to make it again", flush=True)
            continue
        if anew:  # what was made from the results of before
            shutil.rmtree(step.folder, ignore_errors=True)
        anew = True
        cost = run_step(children, title, ["-m", "model", *step.arguments()])
        if step.result == _FINISHED:
            (step.folder / _FINISHED).touch()
        note(step.folder.name, cost)
    return steps[-1].folder


def _steps(folder: Path, data: str, source: Path | None, size: WorldSize, over_arch: str) -> list[Step]:
    suffix = "" if over_arch == "wukong" else f"_{over_arch}"
    table, run, bundle = folder / "data", folder / f"run{suffix}", folder / f"bundle{suffix}"
    world = ["--ads", str(size.ads), "--users", str(size.users), "--events", str(size.events),
             "--seed", str(size.seed)]
    origin = world if source is None else ["--source", str(source)]

    def training() -> list[str]:
        if (run / "weights.safetensors").exists():  # a checkpoint of an interrupted training
            return ["train", "--out", str(run), "--resume"]
        shutil.rmtree(run, ignore_errors=True)
        # A real log is trained with the defaults, which were chosen on one.
        settings = [] if source is not None else [
            "--epochs", str(size.epochs), "--rounds", str(size.rounds), "--round-epochs", str(size.round_epochs),
            "--batch-users", str(size.batch_users), "--forget-share", str(size.forget_share)]
        kind = ["--over-arch", over_arch] if suffix else []
        return ["train", "--data", str(table), "--out", str(run), *kind, *settings]

    return [Step(f"{data} log as tables", table, SPEC, lambda: ["data", data, "--out", str(table), *origin]),
            Step("model and tree", run, _FINISHED, training),
            Step("bundle", bundle, MANIFEST,
                 lambda: ["export", "--run", str(run), "--out", str(bundle), "--users", str(size.quality_users)])]


def run_step(children: Children, title: str, arguments: list[str]) -> StepCost:
    """Runs `python` with these arguments.

    Raises:
        DemoError: it failed.
    """
    print(f"{title}: python {shlex.join(arguments)}", flush=True)
    # SIGINT, for the training answers it with a checkpoint.
    started = time.monotonic()
    ended = children.wait(children.start([sys.executable, *arguments], ending=signal.SIGINT))
    if ended.status:
        raise DemoError(f"{title} failed with exit code {ended.status}, its output is above; the command was `python "
                        f"{shlex.join(arguments)}`; when the cause is mended, start again: it goes on from here")
    cost = StepCost(f"python {shlex.join(arguments)}", time.monotonic() - started, ended.peak_bytes)
    print(f"{title}: done in {cost.seconds:.0f} s, at most {cost.peak_bytes / 2**30:.2f} GiB of memory", flush=True)
    return cost
