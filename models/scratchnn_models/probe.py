"""How good is a code? Logistic regression on it, the code itself fixed.

    minimise  mean_n -log softmax(W z_n + b)[t_n] + weight decay

The codes are divided by their overall deviation, so that one recipe fits all of them.
"""

import numpy as np

from scratchnn import Linear, losses, optim
from scratchnn.layer import Array
from scratchnn.random import stream
from scratchnn.schedules import warmup_cosine

STEPS, BATCH, RATE, DECAY = 6600, 250, 3e-3, 1e-3


class Probe:
    """A linear classifier of codes [N,L]."""

    def __init__(self, codes: Array, labels: Array, seed: int = 0, decay: float = DECAY) -> None:
        self.scale = np.float32(1 / max(float(codes.std()), 1e-12))
        self.linear = Linear(codes.shape[1], int(labels.max()) + 1, rng=stream(seed, "probe"))
        optimizer = optim.AdamW(self.linear.params(), RATE, weight_decay=decay)
        per_epoch = max(1, len(codes) // BATCH)
        for step in range(STEPS):
            epoch, place = divmod(step, per_epoch)
            if place == 0:
                order = stream(seed, "probe", epoch).permutation(len(codes))
            chosen = order[place * BATCH : (place + 1) * BATCH]
            optimizer.lr = warmup_cosine(step, lr=RATE, total=STEPS)
            scores, ctx = self.linear.forward(self._scaled(codes[chosen]))
            _, dscores = losses.cross_entropy(scores, labels[chosen])
            optimizer.zero_grad()
            self.linear.backward_params(dscores, ctx)
            optimizer.step()

    def error_percent(self, codes: Array, labels: Array) -> float:
        """How many of a hundred codes it takes for another class."""
        wrong = self.linear.forward(self._scaled(codes))[0].argmax(1) != labels
        return 100 * float(wrong.mean())

    def _scaled(self, codes: Array) -> Array:
        scaled: Array = codes.astype(np.float32) * self.scale
        return scaled
