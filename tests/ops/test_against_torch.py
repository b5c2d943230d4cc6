"""The meaning of composites and of convolution, against PyTorch on f64 (values and gradients)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import ir.ops as ops
from ir.grad import gradients
from ir.graph import Value, graph_of
from ir.interpret import interpret
from ir.types import type_of

torch = pytest.importorskip("torch")
F = torch.nn.functional


def check(ours: Callable[..., Value], theirs: Callable[..., Any], *arrays: np.ndarray) -> None:
    """Equal results, and equal gradients of a weighted sum for all float operands."""
    inputs = [Value(type_of(a)) for a in arrays]
    out = ours(*inputs)
    tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    want = theirs(*tensors)
    weight = np.random.default_rng(1).normal(size=tuple(want.shape))
    ct = Value(out.type)
    floats = [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]
    grads = gradients([out], [inputs[k] for k in floats], [ct])
    result = interpret(graph_of("both", [*inputs, ct], [out, *grads]), [*arrays, weight])
    np.testing.assert_allclose(result[0], want.detach().numpy(), rtol=1e-9, atol=1e-11)
    (want * torch.tensor(weight)).sum().backward()
    for k, g in zip(floats, result[1:], strict=True):
        np.testing.assert_allclose(g, tensors[k].grad.numpy(), rtol=1e-8, atol=1e-10)


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(3, 5)) * 3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ops.relu, F.relu),
        (ops.selu, F.selu),
        (ops.silu, F.silu),
        (ops.gelu, F.gelu),
        (lambda v: ops.gelu(v, approximate=True), lambda t: F.gelu(t, approximate="tanh")),
        (lambda v: ops.elu(v, alpha=0.7), lambda t: F.elu(t, 0.7)),
        (lambda v: ops.leaky_relu(v, slope=0.2), lambda t: F.leaky_relu(t, 0.2)),
        (ops.softplus, F.softplus),
        (ops.softsign, F.softsign),
        (ops.sigmoid, torch.sigmoid),
        (ops.erf, torch.erf),
        (lambda v: ops.softmax(v, axis=0), lambda t: torch.softmax(t, 0)),
        (lambda v: ops.log_softmax(v, axis=1), lambda t: torch.log_softmax(t, 1)),
        (lambda v: ops.logsumexp(v, axes=(0, 1)), lambda t: torch.logsumexp(t, (0, 1))),
        (lambda v: ops.reduce_min(v, axes=(1,)), lambda t: torch.amin(t, 1)),
        (lambda v: ops.cumsum(v, axis=1), lambda t: torch.cumsum(t, 1)),
        (lambda v: ops.cumprod(v, axis=1), lambda t: torch.cumprod(t, 1)),
        (lambda v: ops.sort(v, axis=1), lambda t: torch.sort(t, 1).values),
        (lambda v: ops.reduce_prod(v, axes=(1,)), lambda t: torch.prod(t, 1)),
    ],
)
def test_of_one_operand(ours: Any, theirs: Any, x: np.ndarray) -> None:
    check(ours, theirs, x)


@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_ties_share_the_gradient(op: str) -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])
    check(getattr(ops, op), getattr(torch, op), a, b)
    check(lambda v: ops.reduce_max(v, axes=(0,)), lambda t: torch.amax(t, 0), np.array([2.0, 5, 5]))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "dilation", "low"), [(1, 1, 1), (2, 1, 0), (2, 2, 2), (1, 3, 0)]
)
def test_convolution(
    stride: int, dilation: int, low: int, groups: int, rng: np.random.Generator
) -> None:
    x, w = rng.normal(size=(2, 8, 9, 4)), rng.normal(size=(3, 2, 4 // groups, 6))
    extents = [(d + 2 * low - dilation * (k - 1) - 1) // stride + 1 for d, k in ((8, 3), (9, 2))]
    windows = tuple((i, o, t, stride, dilation, low) for i, o, t in ("iha", "jwb"))

    def ours(x: Value, w: Value) -> Value:
        x = ops.reshape(x, shape=(2, 8, 9, groups, 4 // groups))
        w = ops.reshape(w, shape=(3, 2, 4 // groups, groups, 6 // groups))
        y = ops.contract(x, w, spec="nijgc,abcgf->nhwgf", windows=windows, out=extents)
        return ops.reshape(y, shape=(2, *extents, 6))  # type: ignore[no-any-return]

    def theirs(x: Any, w: Any) -> Any:
        y = F.conv2d(
            x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), None, stride, low, dilation, groups
        )
        return y.permute(0, 2, 3, 1)

    check(ours, theirs, x, w)


def test_transposed_convolution(rng: np.random.Generator) -> None:
    y, w = rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(3, 3, 2, 3))
    windows = (("i", "h", "a", 2, 1, 1), ("j", "w", "b", 2, 1, 1))
    check(
        lambda y, w: ops.contract(y, w, spec="nhwf,abcf->nijc", windows=windows, out=(7, 9)),
        lambda y, w: F.conv_transpose2d(
            y.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1), None, 2, 1
        ).permute(0, 2, 3, 1),
        y,
        w,
    )


def constant(array: np.ndarray) -> Value:
    """The values of a short vector as a node."""
    parts = [ops.full(value=float(v), shape=(1,), dtype="f64") for v in array]
    return ops.concat(*parts, axis=0)  # type: ignore[no-any-return]


def _windows(size: int, stride: int, low: int, *extents: int) -> Any:
    outs = [(d + 2 * low - size) // stride + 1 for d in extents]
    return tuple((k + 1, size, stride, 1, low, o) for k, o in enumerate(outs))


@pytest.mark.parametrize(("size", "stride", "low"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_pooling(size: int, stride: int, low: int, rng: np.random.Generator) -> None:
    x = rng.integers(0, 4, (2, 7, 6, 3)).astype(np.float64)  # many ties: the first must win
    windows = _windows(size, stride, low, 7, 6)
    check(
        lambda v: ops.max_pool(v, windows=windows),
        lambda t: F.max_pool2d(t.permute(0, 3, 1, 2), size, stride, low).permute(0, 2, 3, 1),
        x,
    )
    for count in (False, True):
        check(
            lambda v, count=count: ops.avg_pool(v, windows=windows, count_padding=count),
            lambda t, count=count: F.avg_pool2d(
                t.permute(0, 3, 1, 2), size, stride, low, count_include_pad=count
            ).permute(0, 2, 3, 1),
            x,
        )


def test_normalisation(rng: np.random.Generator) -> None:
    x, g, b = rng.normal(size=(4, 3, 5)), rng.normal(size=5), rng.normal(size=5)
    check(
        lambda x, g, b: ops.layer_norm(x, g, b, axes=(2,), epsilon=1e-3),
        lambda x, g, b: F.layer_norm(x, (5,), g, b, 1e-3),
        x, g, b,
    )  # fmt: skip
    g, b = g[:3], b[:3]
    check(
        lambda x, g, b: ops.batch_norm_train(x, g, b, axis=1, epsilon=1e-3)[0],
        lambda x, g, b: F.batch_norm(x, None, None, g, b, True, 0.0, 1e-3),
        x, g, b,
    )  # fmt: skip
    mean, var = rng.normal(size=3), rng.random(3) + 0.5
    check(
        lambda x, g, b: ops.batch_norm(x, constant(mean), constant(var), g, b, axis=1, epsilon=1e-3),
        lambda x, g, b: F.batch_norm(x, torch.tensor(mean), torch.tensor(var), g, b, False, 0.0, 1e-3),
        x, g, b,
    )  # fmt: skip


def test_losses(rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(4, 5)) * 20, rng.integers(0, 5, 4)
    check(
        ops.sparse_cross_entropy,
        lambda s, y: F.cross_entropy(s, y, reduction="none"),
        logits,
        labels,
    )
    target = rng.random((4, 5))
    check(ops.cross_entropy, lambda s, t: F.cross_entropy(s, t, reduction="none"), logits, target)
    check(
        ops.binary_cross_entropy,
        lambda s, t: F.binary_cross_entropy_with_logits(s, t, reduction="none"),
        logits,
        target,
    )


def test_attention(rng: np.random.Generator) -> None:
    q, k, v = (rng.normal(size=(2, 3, t, d)) for t, d in ((4, 6), (5, 6), (5, 2)))
    mask = rng.random((2, 3, 4, 5)) < 0.6
    mask[..., 0] = True
    check(
        lambda q, k, v: ops.attention_nomask(q, k, v, scale=0.3),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, scale=0.3),
        q, k, v,
    )  # fmt: skip
    check(
        lambda q, k, v, m: ops.attention(q, k, v, m, scale=0.3),
        lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, scale=0.3),
        q, k, v, mask,
    )  # fmt: skip


def _torch_cell(order: list[int], x: Any, *weights: Any) -> Any:
    """Run a torch recurrent layer by weights in our layout; `order` names our gate for each of theirs."""
    w, u, b_in, b_state, *state = weights

    def turned(v: Any) -> Any:
        parts = v.chunk(len(order), -1)
        return torch.cat([parts[k] for k in order], -1)

    flat = [turned(w).T, turned(u).T, turned(b_in), turned(b_state)]
    state = [s[None] for s in state]
    if len(state) == 2:
        return torch.lstm(x, state, flat, True, 1, 0.0, False, False, True)[0]
    return torch.gru(x, state[0], flat, True, 1, 0.0, False, False, True)[0]


def test_lstm(rng: np.random.Generator) -> None:
    x, w, u, b, h, c = (
        rng.normal(size=s) for s in ((2, 4, 3), (3, 20), (5, 20), (20,), (2, 5), (2, 5))
    )
    check(
        lambda *v: ops.lstm(*v)[0],
        lambda x, w, u, b, h, c: _torch_cell([0, 1, 2, 3], x, w, u, b, b * 0, h, c),
        x, w, u, b, h, c,
    )  # fmt: skip
    check(
        lambda *v: ops.lstm(*v, reverse=True)[0],
        lambda x, w, u, b, h, c: _torch_cell(
            [0, 1, 2, 3], x.flip(1), w, u, b, b * 0, h, c
        ).flip(1),
        x, w, u, b, h, c,
    )  # fmt: skip


def test_gru(rng: np.random.Generator) -> None:
    x, w, u, b, h = (rng.normal(size=s) for s in ((2, 4, 3), (3, 15), (5, 15), (2, 15), (2, 5)))
    check(
        lambda *v: ops.gru(*v)[0],
        lambda x, w, u, b, h: _torch_cell([1, 0, 2], x, w, u, b[0], b[1], h),
        x, w, u, b, h,
    )  # fmt: skip


def test_gru_before(rng: np.random.Generator) -> None:
    x, w, u, b, h = (rng.normal(size=s) for s in ((2, 4, 3), (3, 15), (5, 15), (15,), (2, 5)))

    def theirs(x: Any, w: Any, u: Any, b: Any, h: Any) -> Any:
        states = []
        for t in range(4):
            z = x[:, t] @ w + b
            update = torch.sigmoid(z[:, :5] + h @ u[:, :5])
            reset = torch.sigmoid(z[:, 5:10] + h @ u[:, 5:10])
            h = update * h + (1 - update) * torch.tanh(z[:, 10:] + (reset * h) @ u[:, 10:])
            states.append(h)
        return torch.stack(states, 1)

    check(lambda *v: ops.gru(*v, reset_after=False)[0], theirs, x, w, u, b, h)


def test_embedding(rng: np.random.Generator) -> None:
    table, ids = rng.normal(size=(6, 3)), rng.integers(0, 6, (4, 5))
    check(lambda t, i: ops.gather(t, i, axis=0), lambda t, i: F.embedding(i, t), table, ids)
