"""Convolutions: pictures by MindSpore's own CPU kernel, sequences as pictures of one row, volumes slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from modelscope_ext.models.backends._mindspore.kernels.padding import spread
from modelscope_ext.models.backends._mindspore.lazy import np, ops
from modelscope_ext.models.backends._mindspore.rows import Of, Table, array, tensor, widened

__all__ = ["TABLE"]

TABLE = Table()

_SEQUENCE, _PICTURE, _VOLUME = (Of((1, 3, *[5] * rank)) for rank in (1, 2, 3))
_KERNELS = tuple(Of((4, 3, *[3] * rank)) for rank in (1, 2, 3))


def _convolution(rank: int) -> Callable[..., Any]:
    """Bring the arguments of a convolution over `rank` dimensions into one form."""

    def decorate(run: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(run)
        @widened
        def convolve(
            input: Any,
            weight: Any,
            bias: Any = None,
            stride: Any = 1,
            padding: Any = 0,
            dilation: Any = 1,
            groups: Any = 1,
        ) -> Any:
            single = input.ndim == rank + 1
            steps, wide = spread(stride, rank), spread(dilation, rank)
            kernel = weight.shape[2:]
            edges = _edges(padding, kernel, wide)
            made = run(ops.expand_dims(input, 0) if single else input, weight, steps, edges, wide, groups)
            made = made if bias is None else made + bias.reshape(1, -1, *[1] * rank)
            return made.squeeze(0) if single else made

        return convolve

    return decorate


def _edges(padding: Any, kernel: Any, dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return how much each dimension is padded before and after."""
    if padding == "valid":
        padding = 0
    if padding != "same":
        return tuple((one, one) for one in spread(padding, len(kernel)))
    extra = [wide * (size - 1) for wide, size in zip(dilation, kernel, strict=True)]
    return tuple((one // 2, one - one // 2) for one in extra)


def _pad(input: Any, edges: tuple[tuple[int, int], ...]) -> Any:
    return tensor(np.pad(array(input), ((0, 0), (0, 0), *edges)), input.dtype)


@TABLE.row("Conv2DExt", _PICTURE, _KERNELS[1])
@TABLE.row("Conv2DPadding", _PICTURE, _KERNELS[1])
@TABLE.row("mint.nn.functional.conv2d", _PICTURE, _KERNELS[1])
@TABLE.row("mint.conv2d", _PICTURE, _KERNELS[1])
@_convolution(2)
def conv2d(input: Any, weight: Any, stride: Any, edges: Any, dilation: Any, groups: int) -> Any:
    """Convolve pictures."""
    if any(low != high for low, high in edges):
        input, edges = _pad(input, edges), ((0, 0), (0, 0))
    padding = tuple(low for low, _ in edges)
    return ops.conv2d(input, weight, None, stride, "pad", padding, dilation, groups)


@TABLE.row("Conv1DExt", _SEQUENCE, _KERNELS[0])
@TABLE.row("Conv1DPadding", _SEQUENCE, _KERNELS[0])
@TABLE.row("mint.nn.functional.conv1d", _SEQUENCE, _KERNELS[0])
@_convolution(1)
def conv1d(input: Any, weight: Any, stride: Any, edges: Any, dilation: Any, groups: int) -> Any:
    """Convolve sequences."""
    picture, kernel = ops.expand_dims(input, 2), ops.expand_dims(weight, 2)
    options = {"stride": (1, *stride), "dilation": (1, *dilation), "groups": groups}
    if edges[0][0] != edges[0][1]:
        picture, edges = _pad(picture, ((0, 0), *edges)), ((0, 0),)
    return conv2d(picture, kernel, padding=(0, edges[0][0]), **options).squeeze(2)


@TABLE.row("Conv3DExt", _VOLUME, _KERNELS[2])
@TABLE.row("Conv3DPadding", _VOLUME, _KERNELS[2])
@TABLE.row("mint.nn.functional.conv3d", _VOLUME, _KERNELS[2])
@_convolution(3)
def conv3d(input: Any, weight: Any, stride: Any, edges: Any, dilation: Any, groups: int) -> Any:
    """Convolve volumes: the sum over the kernel's depth of convolutions of the slices, taken as pictures."""
    volume = _pad(input, (edges[0], (0, 0), (0, 0)))
    count, channels, depth, *size = volume.shape
    places = (depth - dilation[0] * (weight.shape[2] - 1) - 1) // stride[0] + 1
    made: Any = None
    for k in range(weight.shape[2]):
        first = k * dilation[0]
        slices = volume[:, :, first : first + (places - 1) * stride[0] + 1 : stride[0]]
        pictures = slices.swapaxes(1, 2).reshape(count * places, channels, *size)
        part = _plane(pictures, weight[:, :, k], stride[1:], edges[1:], dilation[1:], groups)
        made = part if made is None else made + part
    return made.reshape(count, places, *made.shape[1:]).swapaxes(1, 2)


def _plane(pictures: Any, weight: Any, stride: Any, edges: Any, dilation: Any, groups: int) -> Any:
    if any(low != high for low, high in edges):
        pictures, edges = _pad(pictures, edges), ((0, 0), (0, 0))
    padding = tuple(low for low, _ in edges)
    return conv2d(pictures, weight, stride=stride, padding=padding, dilation=dilation, groups=groups)


@TABLE.row("ConvTranspose2D", _PICTURE, Of((3, 4, 2, 2)))
@widened
def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: Any = 1,
    dilation: Any = 1,
) -> Any:
    """Convolve pictures spread out by `stride` with the mirrored kernels: the gradient of a convolution."""
    steps, edges, wide, more = (spread(one, 2) for one in (stride, padding, dilation, output_padding))
    single = input.ndim == 3
    values = array(ops.expand_dims(input, 0) if single else input)
    rows, columns = values.shape[2:]
    spaced = np.zeros((*values.shape[:2], (rows - 1) * steps[0] + 1, (columns - 1) * steps[1] + 1), values.dtype)
    spaced[:, :, :: steps[0], :: steps[1]] = values
    outer = [wide[i] * (weight.shape[2 + i] - 1) - edges[i] for i in (0, 1)]
    grown = np.pad(spaced, ((0, 0), (0, 0), *((max(outer[i], 0), max(outer[i] + more[i], 0)) for i in (0, 1))))
    cut = tuple(slice(max(-outer[i], 0), grown.shape[2 + i] - max(-outer[i] - more[i], 0)) for i in (0, 1))
    kernels = array(weight)[:, :, ::-1, ::-1]
    channels, each = kernels.shape[:2]
    kernels = kernels.reshape(groups, channels // groups, each, *kernels.shape[2:]).swapaxes(1, 2)
    kernels = kernels.reshape(groups * each, channels // groups, *kernels.shape[3:])
    made = conv2d(tensor(grown[:, :, cut[0], cut[1]]), tensor(kernels), bias, dilation=wide, groups=groups)
    return made.squeeze(0) if single else made
