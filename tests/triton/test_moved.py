"""What is summed by rows of a lookup, sorted or cumulated, and then read at other places: joined, padded, cut, turned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")

import kcompile as keras

ops = keras.ops
X = np.random.default_rng(0).standard_normal((7, 6)).astype("float32")

MAKES: dict[str, Callable[[Any], Any]] = {
    "few": lambda x: ops.segment_sum(x, np.array([0, 2, 1, 2, 0, 1, 1]), num_segments=7),
    "many": lambda x: ops.segment_sum(
        ops.take(x, np.arange(70) % 7, axis=0), np.arange(70) * 5 % 7, num_segments=7
    ),
    "cumulated": lambda x: ops.cumsum(x, axis=1),
}
MOVES: dict[str, Callable[[Any, Any], Any]] = {
    "joined": lambda x, y: ops.concatenate([x, y * 3], axis=1),
    "padded": lambda x, y: ops.pad(y, [[0, 0], [1, 2]]),
    "turned": lambda x, y: ops.flip(y, 1)[1:4],
}


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("move", MOVES)
def test_what_is_read_elsewhere(make: str, move: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kcompile.target.without_cuda", lambda: "")

    class Moved(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return MOVES[move](x, MAKES[make](x))

    found = []
    for backend in ("reference", "triton"):
        i = keras.Input(batch_shape=X.shape)
        model = keras.Model(i, Moved()(i))
        model.run_on(backend=backend)
        found.append(model.predict(X, batch_size=len(X), verbose=0))
    np.testing.assert_allclose(*found, rtol=1e-5, atol=1e-5)
