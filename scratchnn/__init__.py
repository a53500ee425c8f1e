"""scratchnn: a layer library without autograd. Every backward pass is written by hand, in the open, and proven."""

from scratchnn import data, losses, optim, schedules
from scratchnn.activations import LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from scratchnn.batch_norm import BatchNorm1d, BatchNorm2d
from scratchnn.containers import Residual, Sequential
from scratchnn.conv2d import Conv2d
from scratchnn.conv_transpose2d import ConvTranspose2d
from scratchnn.dropout import Dropout
from scratchnn.embedding import Embedding
from scratchnn.errors import DataError, FileError, LayerError, ScratchnnError
from scratchnn.gradcheck import GradcheckError, gradcheck
from scratchnn.hessian import hessian_vector_product
from scratchnn.joining import Concat, Split
from scratchnn.layer import Buffer, Layer, Param, frozen
from scratchnn.linear import Linear
from scratchnn.norm import GroupNorm, InstanceNorm2d, LayerNorm, PixelNorm
from scratchnn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from scratchnn.resample import Crop2d, PixelShuffle, ReflectionPad2d, Upsample, ZeroPad2d
from scratchnn.shape import Flatten, Reshape
from scratchnn.smooth import ELU, GELU, PReLU, SiLU, Softmax
from scratchnn.spectral_norm import SpectralNorm
from scratchnn.topk import TopK
from scratchnn.weights import load_weights, save_weights

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Buffer",
    "Concat",
    "Conv2d",
    "ConvTranspose2d",
    "Crop2d",
    "DataError",
    "Dropout",
    "Embedding",
    "FileError",
    "Flatten",
    "GlobalAvgPool2d",
    "GradcheckError",
    "GroupNorm",
    "InstanceNorm2d",
    "Layer",
    "LayerError",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "PReLU",
    "Param",
    "PixelNorm",
    "PixelShuffle",
    "ReLU",
    "ReflectionPad2d",
    "Reshape",
    "Residual",
    "ScratchnnError",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SpectralNorm",
    "Split",
    "Tanh",
    "TopK",
    "Upsample",
    "ZeroPad2d",
    "data",
    "frozen",
    "gradcheck",
    "hessian_vector_product",
    "load_weights",
    "losses",
    "optim",
    "save_weights",
    "schedules",
]
