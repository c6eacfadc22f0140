"""One of several workers that train tiny runs together, in a process of its own; and the tests' way to start them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from model.runs.run import Run
from model.runs.workers import ALONE, Workers
from model.training.trainer import Trainer
from tests.model.tiny_runs import IN_CONTEXT, STACK, TINY
from tests.model.worlds import impressions, in_context, positives
from tests.paths import ROOT

LOGS = {"positives": (TINY, positives), "impressions": (TINY, impressions),
        "stack": (replace(STACK, epochs=1, rounds=1), positives),
        "context": (replace(IN_CONTEXT, epochs=1), in_context), "posthoc": (replace(TINY, tree="posthoc"), positives),
        "single": (replace(TINY, batch_users=1, round_epochs=1), lambda: positives(users=12))}
"""Settings and log of each run. In the last one batches have fewer groups than there are workers."""


def train(folder: Path, name: str, workers: Workers = ALONE) -> Trainer:
    """Trains a run to its end; leaves the gradients of its first batch, and the weights after its last one, beside it.

    Those are not yet aligned with the first worker's, as they are in the end.
    """
    config, log = LOGS[name]
    run = Run(workers.folder(folder / name), log(), config)
    run.folder.create(run.config, folder)
    trainer = Trainer(run, workers=workers)
    gradients, weights = {}, {}

    def after_batch() -> None:
        if not gradients:
            gradients.update({at: parameter.grad.to_dense().clone() for at, parameter in run.model.named_parameters()
                              if parameter.grad is not None})
        weights.update({at: tensor.detach().clone() for at, tensor in run.model.named_parameters()})

    trainer.after_batch = after_batch
    trainer.fit()
    save_file(gradients, folder / f"{name}-gradients-{workers.rank}.safetensors")
    save_file(weights, folder / f"{name}-weights-{workers.rank}.safetensors")
    return trainer


def together(folder: Path, count: int) -> None:
    """Trains all runs by workers in processes of their own."""
    started = [subprocess.Popen([sys.executable, "-m", __name__, folder, str(rank), str(count)], cwd=ROOT,
                                stderr=subprocess.PIPE, text=True,
                                env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"})
               for rank in range(count)]
    said = [worker.communicate(timeout=300)[1][-3000:] for worker in started]
    assert [worker.returncode for worker in started] == [0] * count, said


if __name__ == "__main__":
    where, own_rank, world = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{where}/store", rank=own_rank, world_size=world)
    for log_name in LOGS:
        train(where, log_name, Workers.of_group())
    dist.destroy_process_group()
