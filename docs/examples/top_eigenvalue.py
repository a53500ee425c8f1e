"""How sharp is the minimum that a training found? The top Hessian eigenvalue of a trained LeNet, by Lanczos.

    python docs/examples/top_eigenvalue.py runs/lenet-...

The Hessian of the mean cross-entropy over training images has 6,582 x 6,582 entries. It is never formed: each step asks
for one product with a vector, which costs about two backward passes.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np

import scratchnn as snn
from scratchnn.hessian import flat_hessian_vector_product, top_eigenvalue
from scratchnn_models.lenet import LeNet, prepared


def main() -> None:
    """Print the eigenvalue, its residual, and the step size above which gradient descent would leave the minimum."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--images", type=int, default=1000, help="training images that the loss is taken over")
    parser.add_argument("--steps", type=int, default=50, help="Lanczos steps at most")
    options = parser.parse_args()
    net = LeNet()
    snn.load_weights(net, options.run / "weights.safetensors")
    net.astype(np.float64)
    images, labels = snn.data.load("mnist", "train")
    x, target = prepared(images[: options.images]).astype(np.float64), labels[: options.images]
    loss, loss_jvp = (partial(f, target=target) for f in (snn.losses.cross_entropy, snn.losses.cross_entropy_jvp))
    product, size = flat_hessian_vector_product(net, x, loss, loss_jvp)
    value, _, residual = top_eigenvalue(product, size, np.random.default_rng(0), steps=options.steps, tolerance=1e-4)
    print(f"top eigenvalue {value:.4g} (residual {residual:.1e}) of the {size:,} x {size:,} Hessian")
    print(f"plain gradient descent is stable here up to a step of 2/{value:.4g} = {2 / value:.2g}")


if __name__ == "__main__":
    main()
