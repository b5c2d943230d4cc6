"""Keras's masked attention on torch with the gradients that its other backends give.

On torch a mask is added to the scores, and rows it closes wholly pass gradients on; on TensorFlow and on JAX
closed scores are replaced and pass none, which is what finite differences say. Refuses to change any output.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced_scores(keras: Any) -> Iterator[None]:
    """Within, masked scores are replaced, not added to. Does nothing on other modules."""
    if keras.__name__ != "keras" or keras.backend.backend() != "torch":
        yield
        return
    import torch
    from keras.src.backend.torch import nn

    given = nn.dot_product_attention

    def attention(
        query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, scale: Any = None,
        is_causal: bool = False, **more: Any,
    ) -> Any:  # fmt: skip
        if mask is None or query.shape[2] != key.shape[2]:
            return given(query, key, value, bias, mask, scale, is_causal, **more)
        allowed = torch.as_tensor(mask).bool()
        if is_causal:
            t, s = query.shape[1], key.shape[1]
            allowed = allowed & torch.ones(t, s, dtype=torch.bool).tril()
        scores = torch.einsum("nthd,nshd->nhts", query, key) * scale
        weights = torch.where(allowed, scores, -1e9).softmax(-1)
        return torch.einsum("nhts,nshd->nthd", weights, value)

    nn.dot_product_attention = attention
    try:
        yield
    finally:
        nn.dot_product_attention = given
