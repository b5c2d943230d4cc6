"""Attention without projections: `Attention` and `AdditiveAttention`.

Refuses to hold heads (`attention.py`).
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
import kcompile.random as random
from kcompile.arguments import choice, fraction, owner, refuse
from kcompile.layer import Layer
from kcompile.layers.regularization import generator
from kcompile.layers.settings import configured


class Attention(Layer):
    """softmax(scores of query and key) @ value, for inputs [query (N, T, d), value (N, S, d), key]."""

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: Any = None,
        **kwargs: Any,
    ):
        score_mode = choice(type(self), "score_mode", score_mode, ("dot", "concat"))
        dropout = fraction(type(self), "dropout", dropout)
        super().__init__(**kwargs)
        self.use_scale, self.score_mode, self.dropout, self.seed = (
            use_scale,
            score_mode,
            dropout,
            seed,
        )
        self.seed_generator = generator(seed) if dropout > 0 else None
        self.supports_masking = True
        self.scale: Any = None
        self.concat_score_weight: Any = None

    def build(self, input_shape: Any) -> None:
        self._check(input_shape)
        self._add_weights(input_shape)
        self.built = True

    def _add_weights(self, input_shape: Any) -> None:
        if self.use_scale:
            self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                name="concat_score_weight", shape=(), initializer="ones"
            )

    def _check(self, inputs: Any) -> None:
        if not isinstance(inputs, (list, tuple)) or not 2 <= len(inputs) <= 3:
            refuse(
                f"{owner(self)} was called on {inputs!r}",
                "It takes a list [query, value] or [query, value, key]",
                "Call it as Attention()([query, value])",
                code="KC201",
            )

    def _scores(self, query: Any, key: Any) -> Any:
        if self.score_mode == "dot":
            scores = ops.matmul(query, ops.swapaxes(key, -2, -1))
            return scores if self.scale is None else scores * self.scale
        both = ops.expand_dims(query, -2) + ops.expand_dims(key, -3)
        both = both if self.scale is None else both * self.scale
        return self.concat_score_weight * ops.sum(ops.tanh(both), axis=-1)

    def call(
        self,
        inputs: Any,
        mask: Any = None,
        training: Any = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        self._check(inputs)
        query, value = inputs[0], inputs[1]
        key = inputs[2] if len(inputs) > 2 else value
        q_mask, v_mask = (mask[0], mask[1]) if mask else (None, None)
        scores = self._scores(query, key)
        allowed = None if v_mask is None else ops.expand_dims(v_mask, -2)
        if use_causal_mask:
            t, s = ops.shape(scores)[-2:]
            row = ops.expand_dims(ops.arange(t, dtype="int32"), (0, 2))
            causal = ops.greater_equal(row, ops.expand_dims(ops.arange(s, dtype="int32"), (0, 1)))
            allowed = causal if allowed is None else ops.logical_and(allowed, causal)
        if allowed is not None:
            low = 65504.0 if scores.dtype == "float16" else 1e9
            scores = ops.where(allowed, scores, scores - low)
        weights = ops.softmax(scores, axis=-1)
        if training and self.dropout > 0:
            weights = random.dropout(weights, self.dropout, seed=self.seed_generator)
        out = ops.matmul(weights, value)
        if q_mask is not None:
            out = ops.where(ops.expand_dims(q_mask, -1), out, ops.zeros_like(out))
        return (out, weights) if return_attention_scores else out

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None if mask is None else mask[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[0][:-1], input_shape[1][-1])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "use_scale", "score_mode", "dropout", "seed")


class AdditiveAttention(Attention):
    """Attention with scores sum(scale * tanh(query + key))."""

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any):
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def _add_weights(self, input_shape: Any) -> None:
        if self.use_scale:
            shape = (input_shape[0][-1],)
            self.scale = self.add_weight(name="scale", shape=shape, initializer="glorot_uniform")

    def _scores(self, query: Any, key: Any) -> Any:
        both = ops.tanh(ops.expand_dims(query, -2) + ops.expand_dims(key, -3))
        return ops.sum(both if self.scale is None else both * self.scale, axis=-1)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["score_mode"]
        return config
