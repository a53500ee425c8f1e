"""Random numbers that do not depend on who asked before: one independent stream per name.

A run's randomness is a function of (seed, name, step): adding a consumer shifts no other, and a resumed run continues
without a saved generator state.
"""

from hashlib import sha256

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator of this name, e.g. `stream(seed, "dropout", step)`; counter-based (Philox)."""
    digest = sha256(repr(names).encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))
