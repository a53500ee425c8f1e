"""Which samples a step sees: every epoch all of them in a new order, as a function of the seed and the step alone."""

from functools import lru_cache

import numpy as np

from scratchnn.data import Images
from scratchnn.errors import ScratchnnError
from scratchnn.layer import Array
from scratchnn.random import stream


class Batches:
    """The order of the first `count` - `validation` samples; the others are held out."""

    def __init__(self, seed: int, name: str, count: int, batch_size: int, validation: int) -> None:
        self.seed, self.size, self.trained_on = seed, batch_size, count - validation
        if not 0 < batch_size <= self.trained_on:
            raise ScratchnnError(
                f"the batch size is {batch_size}; {name} has {self.trained_on} images to train on "
                f"({validation} are held out for validation)"
            )
        self.steps_per_epoch = self.trained_on // batch_size
        self.held_out = slice(self.trained_on, count)

    def indices(self, step: int) -> Array:
        """The samples of a step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return _order(self.seed, epoch, self.trained_on)[place * self.size : (place + 1) * self.size]


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, count: int) -> Array:
    return stream(seed, "shuffle", epoch).permutation(count)


def scaled(images: Images) -> Array:
    """uint8 images as float32 in [0,1]."""
    return images.astype(np.float32) / np.float32(255)


def parts(images: Array, size: int = 500) -> list[Array]:
    """The images in pieces that fit into the cache, for evaluation."""
    return [images[at : at + size] for at in range(0, len(images), size)]
