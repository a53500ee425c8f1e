"""What the machine code of every CUDA file is held to: a budget of registers and shared memory, what it holds and not.

`test_cuda_compile.py` holds the sources to it, for every architecture, and `mutate_cuda.py` the faults put into them.
"""

import json
import re
from pathlib import Path

import nvrtc
from scratchnn_kernels.cuda import SOURCES

BUDGETS = Path(__file__).parent / "cuda_budgets.json"
INSTALL = "pip install nvidia-cuda-nvrtc nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
# All kernels of each file, whatever a mutation run leaves out.
KERNELS = {name: [kernel for t in source.types for kernel in source.names(t)] for name, source in SOURCES.items()}
SHOWN = "90"  # the architecture whose machine code is read
# What it must hold, of the kernels whose names hold the key: above all vector loads and stores.
LOAD, STORE = r"LDG\.E\.128", r"STG\.E\.128"
CODE = {
    "elementwise.cu": {"unary": (LOAD, STORE), "binary": (LOAD, STORE)},
    "losses.cu": {"loss": (LOAD, STORE)},
    "conv2d.cu": {"": (r"FFMA", r"LDS\.128", r"DFMA", STORE)},
    "conv2d_tf32.cu": {"": (r"HMMA\.1688\.F32\.TF32", r"LDS\.128", LOAD, STORE)},
    "linear.cu": {"": (r"FFMA", r"LDS\.128", r"DFMA", STORE)},
    "softmax.cu": {"": (r"SHFL", r"MUFU\.EX2")},
    "topk.cu": {"": (r"ATOMS", r"VOTE")},
    "max_pool2d.cu": {"": (r"ATOMS",)},
    "normalize.cu": {"rows": (r"SHFL",), "moments": (LOAD,), "scale": (LOAD, STORE)},
    "normalize_grad.cu": {"rows": (r"SHFL",), "grad_sums": (LOAD,), r"\dgradI": (LOAD, STORE)},
}
# And must not: local memory, sums in any order, and in float kernels no double arithmetic.
LOCAL = r"\b(LDL|STL)\b"
FLOATING_ATOMICS = r"\b(RED|ATOM|ATOMS|ATOMG)\S*\.F(32|64|16)"
DOUBLE = r"\b(DFMA|DADD|DMUL)\b"
IN_DOUBLE = {"window.cu"}  # resizing finds its places in it


def build(name: str, architecture: str) -> nvrtc.Compiled:
    return nvrtc.compiled(SOURCES[name].text(), name, architecture, KERNELS[name])


def worst(found: nvrtc.Compiled) -> dict[str, int]:
    """The most that any kernel of a file takes."""
    kernels = found.kernels.values()
    return {field: max(getattr(kernel, field) for kernel in kernels) for field in nvrtc.Resources._fields}


def over_budget(name: str, architecture: str, found: nvrtc.Compiled) -> str | None:
    """What a file takes more than its budget says, or None."""
    took, budget = worst(found), json.loads(BUDGETS.read_text())[name][architecture]
    over = {field: (took[field], limit) for field, limit in budget.items() if took[field] > limit}
    return f"{name} for sm_{architecture} takes more than its budget: {over}" if over else None


def wrong_code(name: str, code: str) -> str | None:
    """What the machine code of a file for SHOWN lacks or should not hold, or None."""
    functions = {text.split("\n", 1)[0].strip(): text for text in code.split("Function : ")[1:]}
    for kernel, patterns in CODE.get(name, {}).items():
        found = "".join(text for mangled, text in functions.items() if re.search(kernel, mangled))
        if lacks := [pattern for pattern in patterns if not re.search(pattern, found)]:
            return f"{name} has no {lacks[0]} in its kernels {kernel}"
    for mangled, text in functions.items():
        wrong = [LOCAL, FLOATING_ATOMICS]
        if re.search(r"I(f|Lf)", mangled) and name not in IN_DOUBLE:
            wrong.append(DOUBLE)
        if there := re.search("|".join(wrong), text):
            return f"{mangled} has {there[0]}"
    return None


def complaint(name: str) -> str | None:
    """What is wrong with a file as it is now, for SHOWN alone: the first complaint, or the compiler's."""
    try:
        found = build(name, SHOWN)
    except RuntimeError as error:
        return str(error)
    code = nvrtc.machine_code(found.cubin)
    if code is None:
        return f"no machine code to read; {INSTALL}"
    return over_budget(name, SHOWN, found) or wrong_code(name, code)
