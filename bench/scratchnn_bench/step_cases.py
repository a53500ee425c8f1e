"""The training steps as cases: judged by their losses and all gradients, timed as a whole."""

from functools import partial
from typing import Any

from scratchnn_bench import steps_cae, steps_dcgan, steps_lenet, steps_srgan, steps_unet, steps_vae
from scratchnn_bench.graphs import replayed
from scratchnn_bench.step import Ours, Theirs, in_phases
from scratchnn_bench.work import Case, How, Work

STEPS: tuple[tuple[str, Any, tuple[int, ...]], ...] = (
    ("LeNet", steps_lenet, (1, 16, 64, 256)),
    ("MLP-VAE", steps_vae, (128,)),
    ("conv AE", steps_cae, (64,)),
    ("DCGAN", steps_dcgan, (64,)),
    ("U-Net 64x64", steps_unet, (8,)),
    ("SRGAN block", steps_srgan, (16,)),
)
# In float32, rounding moves a few pixels across a kink of ReLU or max-pool, and with them whole terms of a gradient: a
# U-Net's are off by a percent, in PyTorch too. That the step is right shows in float64, see `worker.EXACT`.
TOLERANCE = 5e-2


def cases() -> list[Case]:
    """One case for each step and batch size; SRGAN's block gets its input from another layer, in whatever order."""
    return [
        Case(
            "train", "step", f"{name} B{batch}", float("nan"), float("nan"), partial(_ours, module.Ours, batch),
            partial(_theirs, module.Theirs, batch), tolerance=TOLERANCE, has_layouts=module is steps_srgan,
        )
        for name, module, batches in STEPS
        for batch in batches
    ]  # fmt: skip


def _ours(kind: Any, batch: int, how: How) -> Work:
    ours: Ours = kind(batch, how)
    train_step = in_phases(ours, how)

    def results() -> dict[str, Any]:
        found = train_step()
        for net, layer in ours.nets.items():
            found |= {f"{net}.{name}": param.grad for name, param in layer.named_params()}
        return found

    return Work(train_step, results)


def _theirs(kind: Any, batch: int, how: How) -> Work:
    theirs: Theirs = kind(batch, how)
    train_step = replayed(theirs.train_step) if how.graph else theirs.train_step

    def results() -> dict[str, Any]:
        found = dict(train_step())
        for net, module in theirs.nets.items():
            found |= {f"{net}.{name}": param.grad for name, param in module.named_parameters()}
        return found

    return Work(train_step, results)
