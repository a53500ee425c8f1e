"""scratchnn: a layer library without autograd. Every backward pass is written by hand, in the open, and proven."""

from scratchnn import data, losses, optim, schedules
from scratchnn.activations import LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from scratchnn.batch_norm import BatchNorm1d, BatchNorm2d
from scratchnn.containers import Residual, Sequential
from scratchnn.conv2d import Conv2d
from scratchnn.conv_transpose2d import ConvTranspose2d
from scratchnn.dropout import Dropout
from scratchnn.errors import DataError, FileError, LayerError, ScratchnnError
from scratchnn.gradcheck import GradcheckError, gradcheck
from scratchnn.layer import Buffer, Layer, Param, frozen
from scratchnn.linear import Linear
from scratchnn.pooling import AvgPool2d, MaxPool2d
from scratchnn.shape import Flatten, Reshape
from scratchnn.topk import TopK
from scratchnn.weights import load_weights, save_weights

__version__ = "0.1.0"

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Conv2d",
    "ConvTranspose2d",
    "DataError",
    "Dropout",
    "FileError",
    "Flatten",
    "GradcheckError",
    "Layer",
    "LayerError",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Param",
    "ReLU",
    "Reshape",
    "Residual",
    "ScratchnnError",
    "Sequential",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "TopK",
    "data",
    "frozen",
    "gradcheck",
    "load_weights",
    "losses",
    "optim",
    "save_weights",
    "schedules",
]
