"""The folder of a run: settings, checkpoint and log. Weights are safetensors; nothing is pickled.

run/config.json          TrainConfig and the data folder
run/weights.safetensors  model, index, optimizers and codes of the tree; progress in its metadata
run/log.jsonl            one JSON object per report
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from model.config.errors import ConfigError
from model.config.train import TrainConfig

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"

VERSION = 4
"""Of the network and what it reads. Version 2 has spectral towers and more interaction features, version 3 pair layers
for nodes, version 4 regressed weights of co-clicked ads; older weights are of no use to it."""


@dataclass(frozen=True)
class Progress:
    """Epochs that a run has finished, and batches done of the next one."""

    epoch: int = 0
    batch: int = 0


class RunFolder:
    """Reads and writes one run."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    def create(self, config: TrainConfig, data: Path) -> None:
        """Starts a run.

        Raises:
            ConfigError: the folder holds a checkpoint already.
        """
        self.check_unused()
        self.path.mkdir(parents=True, exist_ok=True)
        content = {"version": VERSION, "data": str(Path(data).resolve()), "train": config.to_json()}
        write_json(self.path / CONFIG, content)

    def check_unused(self) -> None:
        """Raises ConfigError if the folder holds a checkpoint already."""
        if self.has_checkpoint:
            raise ConfigError(f"{self.path} already holds a run; add --resume to continue it, or name another --out")

    def config(self) -> tuple[TrainConfig, Path]:
        """Settings and data folder.

        Raises:
            ConfigError: there is no run in this folder, or one of another version of the network.
        """
        try:
            content = json.loads((self.path / CONFIG).read_bytes())
            _check_version(content, self.path)
            return TrainConfig.from_json(content["train"]), Path(content["data"])
        except FileNotFoundError as error:
            raise ConfigError(f"{self.path} holds no run; name the --out of `python -m model train`") from error
        except ConfigError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{self.path}/{CONFIG} is not readable ({error!r}); train again") from error

    def log(self, entry: Mapping[str, Any]) -> None:
        """Appends a report to the log. Numbers that are not finite become null, since JSON cannot hold them."""
        with (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps(finite(entry), allow_nan=False) + "\n")

    def save(self, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer],
             codes: NDArray[np.int32] | None, progress: Progress) -> None:
        """Writes a checkpoint, which replaces the last one when it is complete.

        Args:
            modules: by the prefix of their tensors.
            optimizers: likewise.
            codes: of the tree, if there is one yet.
            progress: of the run.
        """
        tensors = {f"{prefix}.{name}": tensor.contiguous() for prefix, module in modules.items()
                   for name, tensor in module.state_dict().items()}
        for prefix, optimizer in optimizers.items():
            for parameter, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{prefix}.{parameter}.{key}": torch.as_tensor(value) for key, value in state.items()}
        if codes is not None:
            tensors["codes"] = torch.from_numpy(codes)
        partial = self.path / "weights.partial"
        save_file(tensors, partial, {"epoch": str(progress.epoch), "batch": str(progress.batch)})
        os.replace(partial, self.path / WEIGHTS)

    @property
    def has_checkpoint(self) -> bool:
        """Whether a checkpoint was ever saved."""
        return (self.path / WEIGHTS).exists()

    def load_modules(self, modules: Mapping[str, nn.Module]) -> NDArray[np.int32] | None:
        """Restores modules.

        Args:
            modules: by the prefix of their tensors.

        Returns:
            The codes of the tree, if there is one yet.

        Raises:
            ConfigError: there is no checkpoint, it is damaged, or it belongs to another model.
        """
        with self._checkpoint() as file:
            for prefix, module in modules.items():
                module.load_state_dict({name[len(prefix) + 1:]: file.get_tensor(name) for name in file.keys()  # noqa: SIM118
                                        if name.startswith(f"{prefix}.")})
            return file.get_tensor("codes").numpy() if "codes" in file.keys() else None  # noqa: SIM118

    def load_optimizers(self, optimizers: Mapping[str, torch.optim.Optimizer]) -> Progress:
        """Restores optimizers, and returns the progress; arguments and errors as for `load_modules`."""
        states: dict[str, dict[int, dict[str, Any]]] = {prefix: {} for prefix in optimizers}
        with self._checkpoint() as file:
            for name in file.keys():  # noqa: SIM118
                prefix, _, rest = name.partition(".")
                if prefix in states:
                    parameter, _, key = rest.partition(".")
                    tensor = file.get_tensor(name)
                    # TableAdam counts its steps in a number, Adam in a tensor.
                    value = tensor.item() if key == "step" and prefix == "tables" else tensor
                    states[prefix].setdefault(int(parameter), {})[key] = value
            for prefix, optimizer in optimizers.items():
                groups = optimizer.state_dict()["param_groups"]
                optimizer.load_state_dict({"state": states[prefix], "param_groups": groups})
            metadata = file.metadata()
            return Progress(int(metadata["epoch"]), int(metadata["batch"]))

    @contextmanager
    def _checkpoint(self) -> Iterator[Any]:
        """The open checkpoint; errors within the block are raised as errors of the file."""
        path = self.path / WEIGHTS
        if not path.exists():
            raise ConfigError(f"{self.path} holds no checkpoint yet; run `python -m model train` first")
        try:
            with safe_open(path, framework="pt") as file:
                yield file
        except SafetensorError as error:
            raise ConfigError(f"{path} is damaged ({error}); train again") from error
        except (RuntimeError, ValueError, KeyError) as error:
            raise ConfigError(f"the checkpoint in {self.path} belongs to another model: {error}") from error


class ReadOnlyFolder(RunFolder):
    """The folder of a run that another process writes."""

    def create(self, config: TrainConfig, data: Path) -> None:
        """Leaves it to the other process, as `log` and `save` do."""

    def log(self, entry: Mapping[str, Any]) -> None: ...

    def save(self, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer],
             codes: NDArray[np.int32] | None, progress: Progress) -> None: ...


def read_settings(file: Path) -> TrainConfig:
    """The settings in the `config.json` of a run, or in a copy of it.

    Raises:
        ConfigError: the file does not exist, cannot be read, or was written by another version of the network.
    """
    try:
        content = json.loads(file.read_bytes())
        settings = content["train"]
        _check_version(content, file)
        return TrainConfig.from_json(settings)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror}); name the {CONFIG} in the folder of a run"
                          ) from error
    except ConfigError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file} does not hold the settings of a run ({error!r}); name the {CONFIG} in the folder of "
                          "a run") from error


def _check_version(content: Mapping[str, Any], path: Path) -> None:
    version = content.get("version", 1)
    if version != VERSION:
        raise ConfigError(f"{path} holds a run of network version {version}, this program trains version {VERSION}; "
                          "train again, or open it with the release that trained it. Bundles that were exported from "
                          "it can still be served")


def finite(value: Any) -> Any:
    """The value with None in place of numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, complete or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1, allow_nan=False))
    os.replace(partial, path)
