"""What the tests of training objects share: real Keras, and running a function as a traced graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from ir.bind import bind
from ir.dims import dim
from ir.grad import gradients
from ir.interpret import interpret
from ir.types import Type, type_of
from kcompile.tensor import Tensor
from kcompile.trace import Trace

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")


def traced(fn: Callable[..., Any], *arrays: Any, batch: bool = True) -> list[np.ndarray]:
    """The results of `fn` on `arrays`, traced with a named batch axis and interpreted.

    Variables that `fn` assigns get their new values.
    """
    arrays = tuple(np.asarray(a) for a in arrays)
    with Trace("test") as trace:
        inputs = [trace.data(f"x{i}", _named(a, batch)) for i, a in enumerate(arrays)]
        results = fn(*inputs)
        results = list(results) if isinstance(results, (list, tuple)) else [results]
        graph, variables = trace.finish("test", [r for r in results if r is not None])
    if batch:
        graph = bind(graph, N=arrays[0].shape[0])
    found = interpret(graph, [v.array for v in variables] + list(arrays))
    for v, new in zip(variables, found, strict=False):
        v.assign(np.array(new))
    return [np.asarray(a) for a in found[len(variables) :]]


def _named(a: np.ndarray, batch: bool) -> Type:
    t = type_of(a)
    return Type(t.dtype, (dim("N"), *t.shape[1:])) if batch and a.ndim else t


def gradient(fn: Callable[..., Any], *arrays: Any) -> np.ndarray:
    """The gradient of the scalar `fn(*arrays)` with respect to the last array, traced."""

    def with_gradient(*inputs: Any) -> Any:
        (found,) = gradients([fn(*inputs).value], [inputs[-1].value])
        return Tensor(found)

    return traced(with_gradient, *arrays)[0]


def torch_gradient(fn: Callable[..., Any], *arrays: Any) -> np.ndarray:
    """The gradient of the scalar `fn(*arrays)` with respect to the last array, by PyTorch."""
    tensors = [torch.tensor(a) for a in arrays]
    tensors[-1].requires_grad_(True)
    fn(*tensors).backward()
    return tensors[-1].grad.numpy()


def plain(x: Any) -> Any:
    """Keras's or our result as NumPy."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x)


def close(ours: Any, theirs: Any, rtol: float = 2e-5, atol: float = 2e-6) -> None:
    """Both are equal within rounding."""
    np.testing.assert_allclose(plain(ours), plain(theirs), rtol=rtol, atol=atol)


def probabilities(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Rows that sum to one."""
    x = np.exp(rng.normal(size=shape))
    return (x / x.sum(-1, keepdims=True)).astype(np.float32)


def one_hot(indices: Sequence[int], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[np.asarray(indices)]
