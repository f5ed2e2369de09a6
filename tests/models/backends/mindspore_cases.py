"""For each row of the CPU replacements: arguments to draw, and what PyTorch or numpy does with them.

A case takes a `Draw` and returns the arguments as numpy arrays and plain values, and a function of the same arguments
with torch tensors in place of the arrays.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

CASES = {}
FLOATS = ("float32", "float16")


class Draw:
    """What a case draws: sizes, dtypes, choices, and arrays out of a seed."""

    def __init__(self, draw):
        self._draw = draw
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def size(self, low=1, high=4):
        return self._draw(st.integers(low, high))

    def sizes(self, count, low=1, high=4):
        return [self.size(low, high) for _ in range(count)]

    def shape(self, low=1, high=3):
        return tuple(self.sizes(self.size(low, high)))

    def pick(self, *values):
        return self._draw(st.sampled_from(values))

    def axis(self, shape):
        return self.size(-len(shape), len(shape) - 1)

    def floats(self, *shape, dtype=None, low=-3.0, high=3.0):
        dtype = dtype or self.pick(*FLOATS)
        return (self.random.random(shape) * (high - low) + low).astype(dtype)

    def integers(self, *shape, low=0, high=5, dtype="int64"):
        return self.random.integers(low, high, shape).astype(dtype)

    def any(self, *shape):
        """Floats, integers with many equals among them, or truth values."""
        kind = self.pick("float32", "float16", "int64", "int32", "bool")
        return self.floats(*shape, dtype=kind) if kind in FLOATS else self.integers(*shape, high=3, dtype=kind)


def case(*names):
    def add(function):
        CASES.update(dict.fromkeys(names, function))
        return function

    return add


def torch():
    import torch

    return torch


def functional():
    return torch().nn.functional


def dtype_of(name):
    return None if name is None else getattr(torch(), name)


# --- creation ------------------------------------------------------------------------------------------------------
@case("Arange")
def arange(d):
    start, step = d.pick(0, 1, -2, 0.5), d.pick(1, 2, 0.25)
    end = start + d.size(0, 9) * step
    return [start, end, step, d.pick(None, "float32", "int64")], lambda a, b, c, t: torch().arange(
        a, b, c, dtype=dtype_of(t)
    )


@case("LinSpaceExt")
def linspace(d):
    return [
        d.pick(0.0, -1.5),
        d.pick(1.0, 3.25),
        d.size(1, 9),
        d.pick(None, "float32"),
    ], lambda a, b, n, t: torch().linspace(a, b, n, dtype=dtype_of(t))


@case("FillScalar")
def full(d):
    return [d.shape(), d.pick(True, 3, 2.5), d.pick(None, "float16", "int64")], lambda s, v, t: torch().full(
        s, v, dtype=dtype_of(t)
    )


@case("FillTensor")
def full_of(d):
    return [d.shape(), np.array(d.any())], lambda s, v: torch().full(s, v.item(), dtype=v.dtype)


@case("FullLike", "ZerosLikeExt", "OnesLikeExt")
def like(d):
    x, dtype = d.any(*d.shape()), d.pick(None, "float32", "int64")
    return {"FullLike": [x, d.pick(1, 2), dtype], "*": [x, dtype]}, {
        "FullLike": lambda x, v, t: torch().full_like(x, v, dtype=dtype_of(t)),
        "ZerosLikeExt": lambda x, t: torch().zeros_like(x, dtype=dtype_of(t)),
        "OnesLikeExt": lambda x, t: torch().ones_like(x, dtype=dtype_of(t)),
    }


# --- algebra -------------------------------------------------------------------------------------------------------
@case("Mm", "Addmm")
def mm(d):
    n, k, m = d.sizes(3)
    dtype = d.pick("float32")
    one, two = d.floats(n, k, dtype=dtype), d.floats(k, m, dtype=dtype)
    beta, alpha = d.pick(0, 1, 0.5), d.pick(1, 2.0)
    more = d.floats(n, m, dtype=dtype)
    return {"Mm": [one, two], "Addmm": [more, one, two, beta, alpha]}, {
        "Mm": lambda a, b: a @ b,
        "Addmm": lambda c, a, b, beta, alpha: torch().addmm(c, a, b, beta=beta, alpha=alpha),
    }


@case("Baddbmm")
def baddbmm(d):
    n, k, m, b = d.sizes(4)
    return [
        d.floats(b, n, m, dtype="float32"), d.floats(b, n, k, dtype="float32"), d.floats(b, k, m, dtype="float32"),
        d.pick(0, 1, 0.5), d.pick(1, 2.0),
    ], lambda c, a, b, beta, alpha: torch().baddbmm(c, a, b, beta=beta, alpha=alpha)  # fmt: skip


@case("Outer", "Dot", "Mv")
def vectors(d):
    n, m = d.sizes(2)
    one, two = d.floats(n, dtype="float32"), d.floats(m, dtype="float32")
    return {
        "Outer": [one, two], "Dot": [one, d.floats(n, dtype="float32")], "Mv": [d.floats(m, n, dtype="float32"), one]
    }, {"Outer": lambda a, b: torch().outer(a, b), "Dot": lambda a, b: a @ b, "Mv": lambda a, b: a @ b}  # fmt: skip


@case("MatrixInverseExt", "LinalgQr", "TraceExt")
def matrices(d):
    n = d.size()
    square = d.floats(n, n, dtype="float32") + 9 * np.eye(n, dtype=np.float32)
    return [square], {
        "MatrixInverseExt": lambda x: torch().linalg.inv(x),
        "LinalgQr": lambda x: tuple(torch().linalg.qr(x)),
        "TraceExt": lambda x: torch().trace(x),
    }


@case("Log2", "Log10", "Exp2", "AcosExt", "AsinExt", "AtanExt")
def functions(d):
    x = d.floats(*d.shape(), low=0.05, high=1.0)
    names = {"Log2": "log2", "Log10": "log10", "Exp2": "exp2", "AcosExt": "acos", "AsinExt": "asin", "AtanExt": "atan"}
    return [x], {name: lambda x, f=f: getattr(torch(), f)(x) for name, f in names.items()}


@case("Atan2Ext", "AddcdivExt", "AddcmulExt")
def elementwise(d):
    shape, dtype = d.shape(), d.pick(*FLOATS)
    x, y, z = (d.floats(*shape, dtype=dtype, low=0.5) for _ in range(3))
    value = d.pick(1, 0.5)
    return {"Atan2Ext": [x, y], "AddcdivExt": [x, y, z, value], "AddcmulExt": [x, y, z, value]}, {
        "Atan2Ext": lambda x, y: torch().atan2(x, y),
        "AddcdivExt": lambda x, y, z, v: torch().addcdiv(x, y, z, value=v),
        "AddcmulExt": lambda x, y, z, v: torch().addcmul(x, y, z, value=v),
    }


@case("FloorDivScalar", "Tensor.floor_divide", "mint.floor_divide")
def floor_divide(d):
    x = d.pick(d.floats(*d.shape(), dtype="float32"), d.integers(*d.shape(), low=-9, high=9))
    return [x, d.pick(2, 3)], lambda x, y: torch().floor_divide(x, y)


@case("BitwiseOrTensor", "BitwiseXorTensor", "BitwiseOrScalar", "BitwiseXorScalar", "BitwiseAndScalar")
def bitwise(d):
    shape = d.shape()
    dtype = d.pick("int64", "int32", "bool")
    one, two = (d.integers(*shape, high=2 if dtype == "bool" else 9, dtype=dtype) for _ in range(2))
    number = d.pick(1, 6)
    ways = {"BitwiseOr": "bitwise_or", "BitwiseXor": "bitwise_xor", "BitwiseAnd": "bitwise_and"}
    whole = d.integers(*shape, high=9)
    arguments = {f"{way}Tensor": [one, two] for way in ways} | {f"{way}Scalar": [whole, number] for way in ways}
    return arguments, {
        f"{way}{kind}": lambda a, b, f=f: getattr(torch(), f)(a, b)
        for way, f in ways.items()
        for kind in ("Tensor", "Scalar")
    }


@case("EqualExt")
def equal(d):
    x = d.integers(*d.shape(), high=2)
    return [x, d.pick(x, d.integers(*x.shape, high=2))], lambda a, b: torch().tensor(torch().equal(a, b))


@case("Clone", "Tensor.clone")
def clone(d):
    return [d.any(*d.shape())], lambda x: x.clone()


# --- reduction -----------------------------------------------------------------------------------------------------
@case("ArgMaxExt", "ArgMinExt")
def position(d):
    x = d.pick(d.floats(*d.shape()), d.integers(*d.shape(), high=3))
    dim = d.pick(None, d.axis(x.shape))
    # PyTorch does not say which of equals it takes; numpy takes the first.
    return [x, dim, d.pick(True, False) and dim is not None], {
        name: lambda x, dim, keep, f=f: torch().from_numpy(np.asarray(f(x.numpy(), axis=dim, keepdims=keep)))
        for name, f in {"ArgMaxExt": np.argmax, "ArgMinExt": np.argmin}.items()
    }


@case("Var", "Std", "VarMean", "StdMean")
def moments(d):
    shape = tuple(d.sizes(d.size(1, 3), 2, 4))
    dim = d.pick(None, d.axis(shape), tuple(range(len(shape))), (0,))
    names = {"Var": "var", "Std": "std", "VarMean": "var_mean", "StdMean": "std_mean"}
    return [d.floats(*shape), dim, d.pick(0, 1), d.pick(True, False)], {
        name: lambda x, dim, c, keep, f=f: getattr(torch(), f)(x, dim=dim, correction=c, keepdim=keep)
        for name, f in names.items()
    }


@case("LinalgVectorNorm", "LpNormV2")
def vector_norm(d):
    shape = d.shape()
    order = d.pick(0.0, 1.0, 2.0, 3.0, 0.5, float("inf"), float("-inf"))
    dim = d.pick(None, d.axis(shape), (0,))
    return [d.floats(*shape), order, dim, d.pick(True, False)], lambda x, o, dim, keep: torch().linalg.vector_norm(
        x, o, dim=dim, keepdim=keep
    )


@case("MedianExt")
def median(d):
    return [d.floats(*d.shape())], lambda x: x.median()


@case("MedianDim")
def median_dim(d):
    x = d.floats(*d.shape(), dtype="float32")
    return [x, d.axis(x.shape), d.pick(True, False)], lambda x, dim, keep: tuple(x.median(dim, keepdim=keep))


@case("LogSumExp")
def logsumexp(d):
    x = d.floats(*d.shape(), low=-90, high=90)
    return [x, d.pick(d.axis(x.shape), (0,)), d.pick(True, False)], lambda x, dim, keep: torch().logsumexp(
        x, dim, keepdim=keep
    )


@case("CumsumExt")
def cumsum(d):
    x = d.pick(d.floats(*d.shape(), dtype="float32"), d.integers(*d.shape(), dtype=d.pick("int64", "int32", "bool")))
    return [x, d.axis(x.shape), d.pick(None, "float32")], lambda x, dim, t: torch().cumsum(x, dim, dtype=dtype_of(t))


@case("BincountExt")
def bincount(d):
    x = d.integers(d.size(1, 6))
    weights = d.pick(None, d.floats(*x.shape, dtype="float32"))
    return [x, weights, d.pick(0, 9)], lambda x, w, m: torch().bincount(x, w, m)


@case("HistcExt")
def histc(d):
    x = d.floats(d.size(2, 6), dtype="float32")
    return [x, d.size(2, 5), *d.pick((0, 0), (-2, 2))], lambda x, n, low, high: torch().histc(x, n, low, high)


@case("CountNonZero")
def count_nonzero(d):
    x = d.integers(*d.shape(), high=2)
    return [x, d.pick(None, d.axis(x.shape))], lambda x, dim: torch().count_nonzero(x, dim=dim)


@case("MSELossExt", "L1LossExt")
def losses(d):
    shape = d.shape()
    names = {"MSELossExt": "mse_loss", "L1LossExt": "l1_loss"}
    one, two = (d.floats(*shape, dtype="float32") for _ in range(2))
    return [one, two, d.pick("mean", "sum", "none")], {
        name: lambda x, y, r, f=f: getattr(functional(), f)(x, y, reduction=r) for name, f in names.items()
    }


# --- ordering ------------------------------------------------------------------------------------------------------
@case("SortExt", "ArgSort")
def sort(d):
    x = d.any(*d.shape())
    return [x, d.axis(x.shape), d.pick(True, False), True], {
        "SortExt": lambda x, dim, down, s: tuple(torch().sort(x, dim=dim, descending=down, stable=s)),
        "ArgSort": lambda x, dim, down, s: torch().argsort(x, dim=dim, descending=down, stable=s),
    }


@case("TopkExt")
def topk(d):
    shape = tuple(d.sizes(d.size(1, 3), 2, 5))
    x = d.random.permutation(int(np.prod(shape))).reshape(shape).astype(d.pick("float32", "float16", "int64"))
    dim = d.axis(shape)
    return [x, d.size(1, shape[dim]), dim, d.pick(True, False)], lambda x, k, dim, big: tuple(
        torch().topk(x, k, dim=dim, largest=big)
    )


@case("Unique2")
def unique(d):
    return [d.integers(*d.shape(), high=3)], lambda x: torch().unique(x, return_inverse=True, return_counts=True)


@case("UniqueDim")
def unique_dim(d):
    x = d.integers(d.size(), d.size(), high=2)
    return [x, True, True, d.pick(0, 1)], lambda x, s, i, dim: torch().unique(
        x, return_inverse=True, return_counts=True, dim=dim
    )


# --- indexing ------------------------------------------------------------------------------------------------------
@case("StackExt")
def stack(d):
    shape = d.shape()
    dtype = d.pick("float32", "float16", "int64")
    arrays = [d.floats(*shape).astype(dtype) for _ in range(d.size(1, 3))]
    return [arrays, d.size(-len(shape) - 1, len(shape))], lambda xs, dim: torch().stack(xs, dim)


@case("IndexSelect")
def index_select(d):
    x = d.any(*d.shape())
    dim = d.axis(x.shape)
    return [x, dim, d.integers(d.size(0, 4), high=x.shape[dim])], lambda x, dim, i: torch().index_select(x, dim, i)


@case("NonZeroExt")
def nonzero(d):
    return [d.integers(*d.shape(), high=2)], lambda x: torch().nonzero(x, as_tuple=True)


@case("ScatterAddExt")
def scatter_add(d):
    shape = tuple(d.sizes(2, 2, 4))
    dim = d.axis(shape)
    index = d.integers(*(d.size(1, n) for n in shape), high=shape[dim])
    x, src = d.floats(*shape, dtype="float32"), d.floats(*shape, dtype="float32")
    return [x, dim, index, src], lambda x, dim, i, src: torch().scatter_add(x, dim, i, src)


@case("TrilExt")
def tril(d):
    return [d.any(*d.shape(0, 1), d.size(), d.size()), d.size(-2, 2)], lambda x, k: torch().tril(x, k)


@case("DiagExt")
def diag(d):
    return [d.any(*d.shape(1, 2)), 0], lambda x, k: torch().diag(x, k)


@case("Roll")
def roll(d):
    x = d.any(*d.shape())
    shifts, dims = d.pick((d.size(-5, 5), d.axis(x.shape)), (d.size(-5, 5), None), ((1, 2), (0, -1)))
    return [x, shifts, dims], lambda x, s, dims: torch().roll(x, s, dims)


@case("RepeatInterleaveInt")
def repeat_interleave(d):
    x = d.any(*d.shape())
    return [x, d.size(0, 3), d.pick(None, d.axis(x.shape))], lambda x, n, dim: torch().repeat_interleave(x, n, dim=dim)


@case("RepeatInterleaveTensor")
def repeat_each(d):
    x = d.any(*d.shape())
    dim = d.pick(None, d.axis(x.shape))
    counts = d.integers(x.size if dim is None else x.shape[dim], high=3)
    return [x, counts, dim], lambda x, n, dim: torch().repeat_interleave(x, n, dim=dim)


@case("OneHotExt")
def one_hot(d):
    x = d.integers(*d.shape(), high=4)
    return [x, d.pick(-1, 4, 6), np.array(1), np.array(0), -1], lambda x, n, on, off, axis: functional().one_hot(x, n)


# --- in place ------------------------------------------------------------------------------------------------------
@case("InplaceZero")
def zero_(d):
    return [d.any(*d.shape())], lambda x: x.zero_()


@case("InplaceFillScalar", "Tensor.fill_", "InplaceFillTensor")
def fill_(d):
    x = d.floats(*d.shape())
    value = d.pick(2, 0.5)
    return {"InplaceFillTensor": [x, np.array(value, np.float32)], "*": [x, value]}, lambda x, v: x.fill_(v)


@case("InplaceMaskedFillScalar", "Tensor.masked_fill_", "InplaceMaskedFillTensor")
def masked_fill_(d):
    x = d.floats(*d.shape())
    mask, value = d.integers(*x.shape, high=2, dtype="bool"), d.pick(2, 0.5, float("-inf"))
    arguments = {"InplaceMaskedFillTensor": [x, mask, np.array(value, np.float32)], "*": [x, mask, value]}
    return arguments, lambda x, m, v: x.masked_fill_(m, v)


IN_PLACE = {name for name in CASES if name.startswith("Inplace")} | {"Tensor.fill_", "Tensor.masked_fill_"}


# --- activation ----------------------------------------------------------------------------------------------------
@case("GeluExt")
def gelu(d):
    return [d.floats(*d.shape()), d.pick("none", "tanh")], lambda x, a: functional().gelu(x, approximate=a)


@case("LogSoftmaxExt")
def log_softmax(d):
    x = d.floats(*d.shape(), low=-60, high=60)
    return [x, d.axis(x.shape), d.pick(None, "float32")], lambda x, dim, t: functional().log_softmax(
        x, dim, dtype=dtype_of(t)
    )


@case("EluExt", "LeakyReLUExt", "SeLUExt", "MishExt", "LogSigmoid")
def activations(d):
    x, slope = d.floats(*d.shape(), low=-30, high=30), d.pick(0.01, 0.5)
    names = {"SeLUExt": "selu", "MishExt": "mish", "LogSigmoid": "logsigmoid"}
    return {"EluExt": [x, slope], "LeakyReLUExt": [x, slope], "*": [x]}, {
        "EluExt": lambda x, a: functional().elu(x, a),
        "LeakyReLUExt": lambda x, a: functional().leaky_relu(x, a),
        **{name: lambda x, f=f: getattr(functional(), f)(x) for name, f in names.items()},
    }


@case("Tanh", "Tensor.tanh")
def tanh(d):
    return [d.floats(*d.shape(), low=-12, high=12)], lambda x: x.tanh()


@case("SoftplusExt")
def softplus(d):
    return [d.floats(*d.shape(), low=-50, high=50), d.pick(1, 2), d.pick(20, 5)], lambda x, b, t: functional().softplus(
        x, b, t
    )


@case("Hardtanh")
def hardtanh(d):
    return [
        d.pick(d.floats(*d.shape()), d.integers(*d.shape(), low=-9, high=9)),
        -1,
        d.pick(1, 6),
    ], lambda x, a, b: functional().hardtanh(x, a, b)


@case("Swiglu")
def swiglu(d):
    shape = (*d.shape(0, 2), 2 * d.size())

    def theirs(x, dim):
        gate, value = x.chunk(2, dim)
        return functional().silu(gate) * value

    return [d.floats(*shape, dtype="float32"), -1], theirs


# --- normalisation -------------------------------------------------------------------------------------------------
@case("LayerNormExt")
def layer_norm(d):
    x = d.floats(*d.shape(2, 3), d.size(2, 5))
    shape = x.shape[-d.size(1, 2) :]
    weight, bias = (d.pick(None, d.floats(*shape, dtype=x.dtype)) for _ in range(2))
    return [x, shape, weight, bias, d.pick(1e-5, 1e-2)], lambda x, s, w, b, e: functional().layer_norm(x, s, w, b, e)


@case("RmsNorm")
def rms_norm(d):
    x = d.floats(*d.shape(1, 2), d.size(2, 5))
    return [x, d.floats(x.shape[-1], dtype=x.dtype), d.pick(1e-6, 1e-2)], lambda x, g, e: functional().rms_norm(
        x, g.shape, g, e
    )


@case("BatchNormExt")
def batch_norm(d):
    n, c = d.size(2, 4), d.size()
    x = d.floats(n, c, *d.shape(0, 2), dtype="float32")
    weight, bias, mean = (d.floats(c, dtype="float32") for _ in range(3))
    var, training = d.floats(c, dtype="float32", low=0.5), d.pick(True, False)
    return [x, weight, bias, mean, var, training, 0.1, 1e-5], lambda x, w, b, m, v, t, mo, e: functional().batch_norm(
        x, m, v, w, b, t, mo, e
    )


@case("Embedding")
def embedding(d):
    weight = d.floats(5, d.size())
    index = d.integers(*d.shape(), dtype=d.pick("int64", "int32"))
    return [index, weight, None, d.pick(None, 1.0), 2.0], lambda i, w, p, m, n: functional().embedding(i, w, p, m, n)


FIRST_ONLY = {"LayerNormExt", "RmsNorm", "BatchNormExt"}


# --- convolution ---------------------------------------------------------------------------------------------------
def _convolution(d, rank, padding):
    groups, each = d.pick((1, 3), (2, 1), (2, 2))
    size = d.sizes(rank, 5, 7)
    x = d.floats(*d.pick((2,), ()), groups * each, *size, dtype=d.pick("float32", "float16"))
    weight = d.floats(groups * d.size(1, 2), each, *d.sizes(rank, 1, 3), dtype=x.dtype)
    bias = d.pick(None, d.floats(weight.shape[0], dtype=x.dtype))
    stride = 1 if padding == "same" else d.pick(1, 2, tuple(d.sizes(rank, 1, 2)))
    name = {1: "conv1d", 2: "conv2d", 3: "conv3d"}[rank]
    return [x, weight, bias, stride, padding, d.pick(1, 2, tuple(d.sizes(rank, 1, 2))), groups], lambda *a: getattr(
        functional(), name
    )(*a)


@case("Conv1DExt", "Conv1DPadding", "mint.nn.functional.conv1d")
def conv1d(d):
    return _convolution(d, 1, d.pick(0, 1, (2,), "same", "valid"))


@case("Conv2DExt", "Conv2DPadding", "mint.nn.functional.conv2d", "mint.conv2d")
def conv2d(d):
    return _convolution(d, 2, d.pick(0, 1, (2, 1), "same", "valid"))


@case("Conv3DExt", "Conv3DPadding", "mint.nn.functional.conv3d")
def conv3d(d):
    return _convolution(d, 3, d.pick(0, 1, (2, 1, 0), "same", "valid"))


@case("ConvTranspose2D")
def conv_transpose2d(d):
    groups, each = d.pick((1, 3), (2, 1), (2, 2))
    x = d.floats(*d.pick((2,), ()), groups * each, *d.sizes(2, 2, 4), dtype="float32")
    weight = d.floats(groups * each, d.size(1, 2), *d.sizes(2, 1, 3), dtype="float32")
    stride, padding = d.pick(1, 2, (3, 2)), d.pick(0, (0, 0))
    bias = d.pick(None, d.floats(weight.shape[1] * groups, dtype="float32"))
    output_padding = 0 if stride == 1 else d.pick(0, 1)
    return [
        x,
        weight,
        bias,
        stride,
        padding,
        output_padding,
        groups,
        d.pick(1, 2),
    ], lambda *a: functional().conv_transpose2d(*a)


# --- pooling -------------------------------------------------------------------------------------------------------
@case("AvgPool2D")
def average2d(d):
    x = d.floats(*d.pick((2,), ()), d.size(), *d.sizes(2, 4, 7))
    kernel, padding = d.pick(2, 3, (2, 3)), d.pick(0, 1)
    return [
        x, kernel, d.pick(1, 2, (2, 1)), padding, d.pick(True, False), d.pick(True, False), d.pick(None, 3)
    ], lambda *a: functional().avg_pool2d(*a)  # fmt: skip


@case("AvgPool1D")
def average1d(d):
    x = d.floats(2, d.size(), d.size(4, 7))
    return [
        x,
        d.pick(2, 3),
        d.pick(1, 2),
        d.pick(0, 1),
        d.pick(True, False),
        d.pick(True, False),
    ], lambda *a: functional().avg_pool1d(*a)


@case("FuncMaxPool2D", "MaxPoolWithIndices", "MaxPoolWithMask")
def largest2d(d):
    shape = (2, d.size(), *d.sizes(2, 5, 7))
    x = d.random.permutation(int(np.prod(shape))).reshape(shape).astype("float32")
    return [
        x,
        d.pick(2, (2, 3)),
        d.pick(1, 2, (2, 1)),
        d.pick(0, 1),
        d.pick(1, 2),
        d.pick(True, False),
    ], lambda *a: functional().max_pool2d(*a, return_indices=True)


@case("AdaptiveAvgPool2DExt")
def adaptive2d(d):
    x = d.floats(2, d.size(), *d.sizes(2, 2, 7))
    size = d.pick(1, (2, 3), (None, 2), 5)
    return {"*": [x, (size, size) if isinstance(size, int) else size]}, lambda x, s: functional().adaptive_avg_pool2d(
        x, s
    )


@case("AdaptiveAvgPool1D")
def adaptive1d(d):
    return [d.floats(2, d.size(), d.size(2, 7)), d.size(1, 5)], lambda x, s: functional().adaptive_avg_pool1d(x, s)


# --- padding -------------------------------------------------------------------------------------------------------
@case("ConstantPadND")
def constant_pad(d):
    shape = tuple(d.sizes(d.size(1, 4), 3, 5))
    pads = tuple(d.size(-1, 2) for _ in range(2 * d.size(1, len(shape))))
    return [d.floats(*shape), pads, d.pick(0.0, 1.5)], lambda x, p, v: functional().pad(x, p, value=v)


def _pad(mode, rank):
    def draw(d):
        x = d.floats(*d.sizes(2), *d.sizes(rank, 3, 5))
        return [x, tuple(d.sizes(2 * rank, 0, 2))], lambda x, p: functional().pad(x, p, mode=mode)

    return draw


for _rank in (1, 2, 3):
    CASES[f"ReflectionPad{_rank}D"] = _pad("reflect", _rank)
    CASES[f"ReplicationPad{_rank}D"] = _pad("replicate", _rank)


@case("Im2ColExt")
def im2col(d):
    x = d.floats(*d.pick((2,), ()), d.size(), *d.sizes(2, 5, 7))
    return [x, d.pick(2, (2, 3)), d.pick(1, 2), d.pick(0, 1), d.pick(1, 2)], lambda *a: functional().unfold(*a)


@case("Col2ImExt")
def col2im(d):
    size, kernel, dilation, padding, stride = (6, 5), d.pick(2, (2, 3)), d.pick(1, 2), d.pick(0, 1), d.pick(1, 2)
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    places = 1
    for length, one in zip(size, (rows, columns), strict=True):
        places *= (length + 2 * padding - dilation * (one - 1) - 1) // stride + 1
    x = d.floats(*d.pick((2,), ()), d.size() * rows * columns, places, dtype="float32")
    return [x, size, kernel, dilation, padding, stride], lambda *a: functional().fold(*a)


# --- resizing ------------------------------------------------------------------------------------------------------
def _resize(rank, mode):
    def draw(d):
        x = d.floats(*d.sizes(2), *d.sizes(rank, 2, 6), dtype="float32")
        corners = d.pick(True, False)
        scales = tuple(d.pick(0.5, 2.0, 1.7) for _ in range(rank)) if mode == "linear" else None
        by_scale = scales is not None and d.pick(True, False)
        size = None if by_scale else tuple(d.sizes(rank, 1, 9))

        def theirs(x, size, scales, corners):
            return functional().interpolate(x, size, scales, mode=mode, align_corners=corners)

        return [x, size, scales if by_scale else None, corners], theirs

    return draw


CASES |= {
    "UpsampleLinear1D": _resize(1, "linear"),
    "UpsampleBilinear2D": _resize(2, "bilinear"),
    "UpsampleBicubic2D": _resize(2, "bicubic"),
}


# --- calls ---------------------------------------------------------------------------------------------------------
@case("Tensor.new_full")
def new_full(d):
    return [d.any(2), d.shape(), d.pick(1, 2.5)], lambda x, s, v: x.new_full(s, v)


@case("Tensor.repeat")
def repeat(d):
    x = d.any(*d.shape())
    return [x, *d.sizes(d.size(x.ndim, 4), 1, 3)], lambda x, *n: x.repeat(*n)


@case("mint.index_add")
def index_add(d):
    shape = tuple(d.sizes(2, 2, 4))
    dim = d.axis(shape)
    count = d.size()
    source = [count if axis == dim % 2 else n for axis, n in enumerate(shape)]
    return [
        d.floats(*shape, dtype="float32"), dim, d.integers(count, high=shape[dim]), d.floats(*source, dtype="float32")
    ], lambda x, dim, i, s: torch().index_add(x, dim, i, s)  # fmt: skip


@case("mint.isin")
def isin(d):
    return [d.integers(*d.shape()), d.integers(d.size())], lambda x, y: torch().isin(x, y)


@case("ops.functional_overload.einsum")
def einsum(d):
    n, m, k = d.sizes(3)
    equation = d.pick("ij,jk->ik", "i j, j k -> k", "ij,jk->")
    arrays = [d.floats(n, m, dtype="float32"), d.floats(m, k, dtype="float32")]
    return [equation, arrays], lambda e, xs: torch().einsum(e, *xs)


@case("mint.nn.functional.gelu", "Tensor.gelu")
def gelu_by_name(d):
    return [d.floats(*d.shape())], lambda x: functional().gelu(x)


@case("mint.addcdiv")
def addcdiv(d):
    x, y, z = (d.floats(3, 2, low=0.5) for _ in range(3))
    dtype = x.dtype
    return [x, y.astype(dtype), z.astype(dtype)], lambda x, y, z: torch().addcdiv(x, y, z)


@case("mint.where")
def where(d):
    condition, x = d.integers(2, 3, high=2, dtype="bool"), d.floats(2, 3)
    return [condition, *d.pick((), (x, x + 1))], lambda c, *xs: torch().where(c, *xs)
