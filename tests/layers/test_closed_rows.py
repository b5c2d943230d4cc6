"""Attention where a mask closes a row wholly: what comes out, and which way gradients go.

Forward the oracle is real Keras. Backward it is the formula in float64: Keras on TensorFlow and on JAX lets no
gradient through a closed score, and neither do we; on torch, where the mask is added, rows that are closed
wholly pass it on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile
from tests.layers.layer_oracle import close, data, keras

X = data(2, 4, 3)
MASK = np.array([[1, 1, 0, 0], [1, 0, 1, 1]], bool)
MASK = MASK[:, :, None] & MASK[:, None, :]
KINDS: list[tuple[str, tuple[int, ...]]] = [
    ("MultiHeadAttention", (2, 3)),
    ("GroupQueryAttention", (3, 4, 2)),
]


def _model(k: Any, name: str, args: tuple[int, ...], dropout: float) -> Any:
    x, mask = k.Input((4, 3)), k.Input((4, 4), dtype="bool")
    return k.Model(
        [x, mask], getattr(k.layers, name)(*args, dropout=dropout)(x, x, attention_mask=mask)
    )


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(("name", "args"), KINDS)
def test_predictions_are_those_of_keras(name: str, args: tuple[int, ...], dropout: float) -> None:
    ours, theirs = (_model(k, name, args, dropout) for k in (kcompile, keras))
    weights = [data(*w.shape, seed=i) for i, w in enumerate(ours.get_weights())]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    close(ours.predict([X, MASK], verbose=0), theirs.predict([X, MASK], verbose=0))


def _mean_square(w: list[np.ndarray[Any, Any]]) -> float:
    """Of the output of MultiHeadAttention(2, 3) with these weights."""
    wq, bq, wk, bk, wv, bv, wo, bo = w
    q, k, v = (
        np.einsum("ntd,dhk->nhtk", X, a) + b[:, None] for a, b in ((wq, bq), (wk, bk), (wv, bv))
    )
    s = np.where(MASK[:, None], np.einsum("nhtk,nhsk->nhts", q, k) / np.sqrt(3), -1e9)
    p = np.exp(s - s.max(-1, keepdims=True))
    out = np.einsum("nhts,nhsk->nthk", p / p.sum(-1, keepdims=True), v)
    return float(np.mean((np.einsum("nthk,hkd->ntd", out, wo) + bo) ** 2))


def test_gradients_are_those_of_the_formula() -> None:
    model = _model(kcompile, "MultiHeadAttention", (2, 3), 0.0)
    weights = [data(*w.shape, seed=i) for i, w in enumerate(model.get_weights())]
    model.set_weights(weights)
    model.compile(optimizer=kcompile.optimizers.SGD(1.0), loss="mse")
    model.train_on_batch([X, MASK], np.zeros_like(X))
    exact = [w.astype("f8") for w in weights]
    for i, (before, after) in enumerate(zip(weights, model.get_weights(), strict=True)):
        want = np.zeros(before.shape)
        for at in np.ndindex(before.shape):
            moved = [w.copy() for w in exact]
            moved[i][at] += 1e-5
            up = _mean_square(moved)
            moved[i][at] -= 2e-5
            want[at] = (up - _mean_square(moved)) / 2e-5
        np.testing.assert_allclose(before - after, want, rtol=1e-3, atol=1e-5, err_msg=str(i))
