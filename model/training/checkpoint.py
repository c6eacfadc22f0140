"""A run's folder: settings, weights, progress and log. Weights are safetensors; nothing is pickled.

run/config.json        TrainConfig and the data folder
run/weights.safetensors  model, index, optimizers and codes of the tree; progress in its metadata
run/log.jsonl          one line per report
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from model.config import ConfigError, TrainConfig


@dataclass(frozen=True)
class Progress:
    """Where a run stands: epochs done, and batches done of the next one."""

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
        if (self.path / "weights.safetensors").exists():
            raise ConfigError(f"{self.path} holds a run already; add --resume to go on with it, or name another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        content = {"data": str(Path(data).resolve()), "train": config.to_json()}
        _replace(self.path / "config.json", json.dumps(content, indent=1, allow_nan=False).encode())

    def config(self) -> tuple[TrainConfig, Path]:
        """Settings and data folder.

        Raises:
            ConfigError: there is no run in this folder.
        """
        try:
            content = json.loads((self.path / "config.json").read_bytes())
            return TrainConfig.from_json(content["train"]), Path(content["data"])
        except FileNotFoundError as error:
            raise ConfigError(f"{self.path} holds no run; name the --out of `python -m model train`") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self.path}/config.json is not readable ({error!r}); train again") from error

    def log(self, entry: Mapping[str, Any]) -> None:
        with (self.path / "log.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def save(self, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer],
             codes: NDArray[np.int32] | None, progress: Progress) -> None:
        """Writes a checkpoint; the last one stays whole until the new one is.

        Args:
            modules: by the name that their tensors get, likewise the optimizers.
            optimizers: of the modules.
            codes: of the tree, if there is one yet.
            progress: where the run stands.
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
        os.replace(partial, self.path / "weights.safetensors")

    def load(self, modules: Mapping[str, nn.Module], optimizers: Mapping[str, torch.optim.Optimizer]) -> tuple[
            NDArray[np.int32] | None, Progress]:
        """Restores modules and optimizers.

        Returns:
            The codes of the tree, if there is one yet, and the progress.

        Raises:
            ConfigError: there is no checkpoint, or it belongs to another model.
        """
        tensors, metadata = self._read()
        states: dict[str, dict[int, dict[str, Tensor]]] = {prefix: {} for prefix in optimizers}
        for name, tensor in tensors.items():
            prefix, _, rest = name.partition(".")
            if prefix in states:
                parameter, _, key = rest.partition(".")
                states[prefix].setdefault(int(parameter), {})[key] = tensor
        try:
            for prefix, module in modules.items():
                module.load_state_dict({name[len(prefix) + 1:]: tensor for name, tensor in tensors.items()
                                        if name.startswith(f"{prefix}.")})
            for prefix, optimizer in optimizers.items():
                groups = optimizer.state_dict()["param_groups"]
                # SparseAdam counts its steps in a number, Adam in a tensor.
                state = {p: {k: v.item() if k == "step" and prefix == "tables" else v for k, v in entry.items()}
                         for p, entry in states[prefix].items()}
                optimizer.load_state_dict({"state": state, "param_groups": groups})
        except (RuntimeError, ValueError, KeyError) as error:
            raise ConfigError(f"the checkpoint in {self.path} belongs to another model: {error}") from error
        codes = tensors["codes"].numpy() if "codes" in tensors else None
        return codes, Progress(int(metadata["epoch"]), int(metadata["batch"]))

    def _read(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        path = self.path / "weights.safetensors"
        if not path.exists():
            raise ConfigError(f"{self.path} holds no checkpoint yet; run `python -m model train` first")
        try:
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
        except SafetensorError as error:
            raise ConfigError(f"{path} is damaged ({error}); train again") from error


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    os.replace(partial, path)
