"""Elementwise activations. Each gradient is written in what the forward leaves behind, so that x need not be kept.

    relu        y = max(x, 0)                      dx = dy [y > 0]                     relu'(0) = 0
    leaky_relu  y = x if x > 0 else a x            dx = dy (1 if x > 0 else a)         slope a at 0
    sigmoid     y = 1 / (1 + e^-x)                 dx = dy y (1 - y)
    tanh        y = tanh x                         dx = dy (1 - y^2)
    softplus    y = log(1 + e^(b x)) / b           dx = dy sigmoid(b x)
    silu        y = x s,  s = sigmoid(x)           dx = dy s (1 + x (1 - s))
    elu         y = x if x > 0 else a (e^x - 1)    dx = dy (1 if x > 0 else a e^x)     slope a at 0

Each Jacobian is diagonal, so the gradient is its own adjoint: the derivative along x_dot is the same call on x_dot.
Where the branch depends on x, it depends on x's real part: a complex step follows the branch that the real code takes.
"""

from scratchnn_kernels import check
from scratchnn_kernels import elementwise_cuda as cuda
from scratchnn_kernels.check import Array, KernelError
from scratchnn_kernels.dispatch import array_module, choose, register
from scratchnn_kernels.elementwise import elementwise


def relu(x: Array, *, impl: str | None = None) -> Array:
    """max(x, 0); a NaN stays a NaN."""
    return _forward("relu", x, impl)


def relu_grad(dy: Array, y: Array, *, impl: str | None = None) -> Array:
    """dy where y = relu(x) is positive, else 0."""
    return _gradient("relu_grad", dy, y, impl)


def leaky_relu(x: Array, negative_slope: float = 0.01, *, impl: str | None = None) -> Array:
    """x where x > 0, else negative_slope * x."""
    return _forward("leaky_relu", x, impl, negative_slope)


def leaky_relu_grad(dy: Array, x: Array, negative_slope: float = 0.01, *, impl: str | None = None) -> Array:
    """dy where x > 0, else negative_slope * dy."""
    return _gradient("leaky_relu_grad", dy, x, impl, negative_slope)


def sigmoid(x: Array, *, impl: str | None = None) -> Array:
    """1 / (1 + e^-x), without overflow and with full relative precision in both tails."""
    return _forward("sigmoid", x, impl)


def sigmoid_grad(dy: Array, y: Array, *, impl: str | None = None) -> Array:
    """dy y (1 - y), where y = sigmoid(x)."""
    return _gradient("sigmoid_grad", dy, y, impl)


def tanh(x: Array, *, impl: str | None = None) -> Array:
    """tanh x."""
    return _forward("tanh", x, impl)


def tanh_grad(dy: Array, y: Array, *, impl: str | None = None) -> Array:
    """dy (1 - y^2), where y = tanh(x)."""
    return _gradient("tanh_grad", dy, y, impl)


def softplus(x: Array, beta: float = 1.0, *, impl: str | None = None) -> Array:
    """log(1 + e^(beta x)) / beta, without overflow."""
    if beta <= 0:
        raise KernelError(f"beta={beta}; a positive number is expected")
    return _forward("softplus", x, impl, beta)


def softplus_grad(dy: Array, x: Array, beta: float = 1.0, *, impl: str | None = None) -> Array:
    """dy sigmoid(beta x)."""
    return _gradient("softplus_grad", dy, x, impl, beta)


def silu(x: Array, *, impl: str | None = None) -> Array:
    """x sigmoid(x)."""
    return _forward("silu", x, impl)


def silu_grad(dy: Array, x: Array, *, impl: str | None = None) -> Array:
    """dy s (1 + x (1 - s)), where s = sigmoid(x)."""
    return _gradient("silu_grad", dy, x, impl)


def elu(x: Array, alpha: float = 1.0, *, impl: str | None = None) -> Array:
    """x where x > 0, else alpha (e^x - 1)."""
    return _forward("elu", x, impl, alpha)


def elu_grad(dy: Array, x: Array, alpha: float = 1.0, *, impl: str | None = None) -> Array:
    """dy where x > 0, else dy alpha e^x."""
    return _gradient("elu_grad", dy, x, impl, alpha)


def _forward(op: str, x: Array, impl: str | None, *parameters: float) -> Array:
    check.floating("x", x)
    y: Array = choose(op, impl, x)(x, *parameters)
    return y


def _gradient(op: str, dy: Array, kept: Array, impl: str | None, *parameters: float) -> Array:
    check.floating("what forward kept", kept)
    check.gradient(dy, kept.shape, kept)
    dx: Array = choose(op, impl, dy, kept)(dy, kept, *parameters)
    return dx


# --- reference ---


def _relu_reference(x: Array) -> Array:
    y: Array = array_module(x).where(x.real <= 0, 0, x)  # "<= 0" is False for a NaN, which so stays
    return y.astype(x.dtype, copy=False)


def _relu_grad_reference(dy: Array, y: Array) -> Array:
    dx: Array = dy * (y.real > 0)
    return dx


def _leaky_relu_reference(x: Array, negative_slope: float) -> Array:
    return x * _leaky_slope(x, negative_slope)


def _leaky_relu_grad_reference(dy: Array, x: Array, negative_slope: float) -> Array:
    return dy * _leaky_slope(x, negative_slope)


def _leaky_slope(x: Array, negative_slope: float) -> Array:
    slope: Array = array_module(x).where(x.real > 0, 1.0, negative_slope)
    return slope.astype(x.real.dtype)


def _sigmoid_reference(x: Array) -> Array:
    xp = array_module(x)
    e = xp.exp(xp.where(x.real > 0, -x, x))  # e^-|x| never overflows
    y: Array = xp.where(x.real > 0, 1, e) / (1 + e)
    return y


def _sigmoid_grad_reference(dy: Array, y: Array) -> Array:
    dx: Array = dy * y * (1 - y)
    return dx


def _tanh_reference(x: Array) -> Array:
    y: Array = array_module(x).tanh(x)
    return y


def _tanh_grad_reference(dy: Array, y: Array) -> Array:
    dx: Array = dy * (1 - y * y)
    return dx


def _softplus_reference(x: Array, beta: float) -> Array:
    xp = array_module(x)
    z = beta * x
    # log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)
    y: Array = (xp.where(z.real > 0, z, 0) + xp.log1p(xp.exp(xp.where(z.real > 0, -z, z)))) / beta
    return y


def _softplus_grad_reference(dy: Array, x: Array, beta: float) -> Array:
    return dy * _sigmoid_reference(beta * x)


def _silu_reference(x: Array) -> Array:
    return x * _sigmoid_reference(x)


def _silu_grad_reference(dy: Array, x: Array) -> Array:
    s = _sigmoid_reference(x)
    dx: Array = dy * s * (1 + x * (1 - s))
    return dx


def _elu_reference(x: Array, alpha: float) -> Array:
    xp = array_module(x)
    y: Array = xp.where(x.real > 0, x, alpha * xp.expm1(xp.where(x.real > 0, 0, x)))  # no overflow on the other side
    return y


def _elu_grad_reference(dy: Array, x: Array, alpha: float) -> Array:
    xp = array_module(x)
    dx: Array = dy * xp.where(x.real > 0, 1, alpha * xp.exp(xp.where(x.real > 0, 0, x)))
    return dx


register(
    "relu", reference=_relu_reference, cpu=elementwise("relu", arrays=1, operations=1),
    cuda=cuda.function("Relu"),
)  # fmt: skip
register(
    "relu_grad", reference=_relu_grad_reference, cpu=elementwise("relu_grad", arrays=2, operations=2),
    cuda=cuda.gradient("ReluGrad"),
)  # fmt: skip
register(
    "leaky_relu", reference=_leaky_relu_reference, cpu=elementwise("leaky_relu", arrays=1, operations=2),
    cuda=cuda.function("LeakyRelu"),
)  # fmt: skip
register(
    "leaky_relu_grad", reference=_leaky_relu_grad_reference, cpu=elementwise("leaky_relu_grad", arrays=2, operations=2),
    cuda=cuda.gradient("LeakyReluGrad"),
)  # fmt: skip
register(
    "sigmoid", reference=_sigmoid_reference, cpu=elementwise("sigmoid", arrays=1, operations=20),
    cuda=cuda.function("Sigmoid"),
)  # fmt: skip
register(
    "sigmoid_grad", reference=_sigmoid_grad_reference, cpu=elementwise("sigmoid_grad", arrays=2, operations=3),
    cuda=cuda.gradient("SigmoidGrad"),
)  # fmt: skip
register(
    "tanh", reference=_tanh_reference, cpu=elementwise("tanh", arrays=1, operations=20),
    cuda=cuda.function("Tanh"),
)  # fmt: skip
register(
    "tanh_grad", reference=_tanh_grad_reference, cpu=elementwise("tanh_grad", arrays=2, operations=3),
    cuda=cuda.gradient("TanhGrad"),
)  # fmt: skip
register(
    "softplus", reference=_softplus_reference, cpu=elementwise("softplus", arrays=1, operations=30),
    cuda=cuda.function("Softplus"),
)  # fmt: skip
register(
    "softplus_grad", reference=_softplus_grad_reference, cpu=elementwise("softplus_grad", arrays=2, operations=20),
    cuda=cuda.gradient("SoftplusGrad"),
)  # fmt: skip
register(
    "silu", reference=_silu_reference, cpu=elementwise("silu", arrays=1, operations=20),
    cuda=cuda.function("Silu"),
)  # fmt: skip
register(
    "silu_grad", reference=_silu_grad_reference, cpu=elementwise("silu_grad", arrays=2, operations=25),
    cuda=cuda.gradient("SiluGrad"),
)  # fmt: skip
register(
    "elu", reference=_elu_reference, cpu=elementwise("elu", arrays=1, operations=20),
    cuda=cuda.function("Elu"),
)  # fmt: skip
register(
    "elu_grad", reference=_elu_grad_reference, cpu=elementwise("elu_grad", arrays=2, operations=20),
    cuda=cuda.gradient("EluGrad"),
)  # fmt: skip
