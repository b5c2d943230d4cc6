"""Real Keras (torch backend) as the oracle of a layer: one comparison of everything that can differ.

Holds the comparison. Refuses to hold cases: those are tables in the tests.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

import kcompile.layers as layers  # noqa: E402
from ir.grad import gradients  # noqa: E402
from ir.graph import Value, graph_of  # noqa: E402
from ir.interpret import interpret  # noqa: E402
from ir.types import type_of  # noqa: E402
from ir.verify import verify  # noqa: E402
from kcompile import ops  # noqa: E402
from kcompile.serialization import serialize_keras_object  # noqa: E402
from kcompile.tensor import KerasTensor  # noqa: E402
from kcompile.trace import Trace  # noqa: E402

Array = np.ndarray[Any, Any]


def data(*shape: int, seed: int = 0) -> Array:
    """Normal numbers in float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def numbers(x: Any) -> Any:
    """Tensors of either side as NumPy arrays, in their structure."""
    if isinstance(x, (list, tuple)):
        return [numbers(v) for v in x]
    if x is None:
        return None
    return x.detach().cpu().numpy().copy() if hasattr(x, "detach") else np.asarray(x)


def close(got: Any, want: Any, rtol: float = 2e-4, atol: float = 2e-5, what: str = "") -> None:
    """Structures of arrays are equal within tolerances, and equal in shape."""
    got, want = numbers(got), numbers(want)
    if isinstance(want, list):
        assert isinstance(got, list) and len(got) == len(want), (
            f"{what}: {len(got)} values, not {len(want)}"
        )
        for i, (g, w) in enumerate(zip(got, want, strict=True)):
            close(g, w, rtol, atol, f"{what}[{i}]")
        return
    if want is None:
        assert got is None, what
        return
    assert got.shape == want.shape, f"{what}: shape {got.shape}, not {want.shape}"
    np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=what)


def plain(config: Any) -> Any:
    """A config without what is allowed to differ: tuples or lists, names, modules, build configs."""
    if isinstance(config, dict):
        drop = ("name", "dtype", "module", "registered_name", "build_config")
        return {k: plain(v) for k, v in config.items() if k not in drop}
    if isinstance(config, (list, tuple)):
        return [plain(v) for v in config]
    return config


def covers(mine: Any, other: Any) -> None:
    """Configs are equal, but for settings that Keras forgets to write (such as the seed of SimpleRNN)."""
    if isinstance(other, dict) and isinstance(mine, dict):
        assert other.keys() <= mine.keys()
        assert all(mine[k] is None for k in mine.keys() - other.keys())
        for k, v in other.items():
            covers(mine[k], v)
    elif isinstance(other, list) and isinstance(mine, list):
        assert len(mine) == len(other)
        for m, o in zip(mine, other, strict=True):
            covers(m, o)
    else:
        # Keras keeps some numbers in float32
        assert mine == (pytest.approx(other) if isinstance(other, float) else other)


def pair(name: str, /, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Our layer and Keras's. An argument that is a function is called with each side's module."""

    def made(side: Any) -> Any:
        give = lambda v: v(side) if callable(v) and getattr(v, "__name__", "") == "<lambda>" else v
        return getattr(side, name)(*map(give, args), **{k: give(v) for k, v in kwargs.items()})

    return made(layers), made(keras.layers)


def same_weights(ours: Any, theirs: Any, seed: int = 7) -> None:
    """Give both sides the same random weights, after comparing shapes, names and which are trained."""
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    assert len(ours.trainable_weights) == len(theirs.trainable_weights)
    rng = np.random.default_rng(seed)
    values = []
    for w in theirs.weights:
        v = rng.standard_normal(tuple(w.shape)).astype("float32") * 0.5
        values.append(np.abs(v) + 0.5 if "variance" in w.name else v)
    ours.set_weights(values)
    theirs.set_weights(values)


def check(
    ours: Any, theirs: Any, *inputs: Any, training: bool = False, gradient: bool = True, **call: Any
) -> None:
    """Outputs, masks, shapes, config, weights after the call, and gradients are Keras's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _check(ours, theirs, inputs, training, gradient, call)


def _check(
    ours: Any, theirs: Any, inputs: Any, training: bool, gradient: bool, call: dict[str, Any]
) -> None:
    theirs(*_torch(inputs), **_torch(call))
    symbolic = ours(*_symbolic(inputs), **_symbolic(call))
    same_weights(ours, theirs)
    if "training" in _parameters(theirs):
        call = call | {"training": training}
    want = theirs(*_torch(inputs), **_torch(call))
    updated = numbers([w.value for w in theirs.weights])
    theirs.set_weights(ours.get_weights())
    if gradient:
        _check_gradients(ours, theirs, inputs, call)
        theirs.set_weights(ours.get_weights())
    got = ours(*inputs, **call)
    close(got, want, what="output")
    close([w.numpy() for w in ours.weights], updated, what="weights after the call")
    assert [_known(t) for t in _leaves(symbolic)] == [
        (None, *np.shape(w)[1:]) for w in _leaves(want)
    ]
    masks = [getattr(t, "_keras_mask", None) for t in _leaves(want)]
    close([getattr(t, "_keras_mask", None) for t in _leaves(got)], masks, what="mask")
    covers(plain(serialize_keras_object(ours.get_config())), plain(_keras_config(theirs)))
    again = type(ours).from_config(ours.get_config())
    assert plain(again.get_config()) == plain(ours.get_config())


def _keras_config(layer: Any) -> Any:
    return keras.saving.serialize_keras_object(layer.get_config())


def _parameters(layer: Any) -> list[str]:
    return list(layer.call_signature_parameters)


def _known(t: Any) -> tuple[Any, ...]:
    return tuple(t.shape)


def _leaves(x: Any) -> list[Any]:
    return [leaf for v in x for leaf in _leaves(v)] if isinstance(x, (list, tuple)) else [x]


def _map(fn: Any, x: Any) -> Any:
    if isinstance(x, dict):
        return {k: _map(fn, v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(_map(fn, v) for v in x)
    return fn(x) if isinstance(x, np.ndarray) else x


def _torch(x: Any) -> Any:
    return _map(lambda a: torch.tensor(a), x)


def _symbolic(x: Any) -> Any:
    def tensor(a: Array) -> Any:
        return KerasTensor((None, *a.shape[1:]), dtype=a.dtype.name)

    return _map(tensor, x)


def _check_gradients(ours: Any, theirs: Any, inputs: Any, call: dict[str, Any]) -> None:
    """d sum(outputs^2) by every float input and trainable weight."""
    given = _torch(inputs)
    wrt = [t for t in _leaves(given) if isinstance(t, torch.Tensor) and t.is_floating_point()]
    for t in wrt:
        t.requires_grad_(True)
    weights = [w.value for w in theirs.trainable_weights]
    outs = [t for t in _leaves(theirs(*given, **_torch(call))) if t.is_floating_point()]
    loss = sum((t * t).sum() for t in outs)
    if not wrt and not weights:
        return
    want = torch.autograd.grad(loss, [*wrt, *weights], allow_unused=True)

    feeds: list[Array] = []
    with Trace("gradient") as trace:

        def feed(a: Array) -> Any:
            feeds.append(a)
            return trace.data(f"x{len(feeds)}", type_of(a))

        traced, kwargs = _map(feed, inputs), _map(feed, call)
        results = [t for t in _leaves(ours(*traced, **kwargs)) if t.dtype.startswith("float")]
        total = ops.sum(ops.square(results[0]))
        for t in results[1:]:
            total = total + ops.sum(ops.square(t))
        floats = [t.value for t in _leaves(traced) if t.dtype.startswith("float")]
        states = [trace.initial(v) for v in ours.trainable_weights]
        grads = gradients([total.value], [*floats, *states])
        zero = [
            g if g is not None else _zero(v) for g, v in zip(grads, [*floats, *states], strict=True)
        ]
        variables = list(trace.inputs)
        data_values = [v for _, v in trace.data_inputs]
        graph = graph_of("gradient", [trace.inputs[v] for v in variables] + data_values, zero)
    verify(graph)
    arrays = [v.array for v in variables] + feeds
    got = interpret(graph, arrays)
    wanted = [
        np.zeros(g.shape, "float32") if w is None else w for g, w in zip(got, want, strict=True)
    ]
    scale = max([1.0] + [float(np.abs(numbers(w)).max()) for w in wanted if np.size(numbers(w))])
    for i, (g, w) in enumerate(zip(got, wanted, strict=True)):
        close(g, w, rtol=1e-3, atol=2e-5 * scale, what=f"gradient {i}")


def _zero(v: Value) -> Value:
    from ir.ops import zeros_like

    out: Value = zeros_like(v)
    return out
