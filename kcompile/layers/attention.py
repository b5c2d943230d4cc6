"""`MultiHeadAttention`, and `GroupedQueryAttention`, in which heads share keys and values.

Without dropout and without returned scores the heads become the composite behind
`ops.dot_product_attention`. With a dropout rate a mask goes to `Softmax`, also when predicting: there a
row that the mask closes wholly attends to nothing, in the composite to all alike, as in Keras. Refuses
to hold the softmax and the projections themselves.
"""

from __future__ import annotations

import math
from typing import Any

import kcompile.constraints as constraints
import kcompile.initializers as initializers
import kcompile.ops as ops
import kcompile.regularizers as regularizers
from kcompile.arguments import fraction, is_int, owner, positive_int, refuse
from kcompile.layer import Layer
from kcompile.layers.activation import Softmax
from kcompile.layers.einsum_dense import EinsumDense
from kcompile.layers.regularization import Dropout
from kcompile.layers.settings import build_child, configured
from kcompile.tensor import Tensor

_SHARED = (
    "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer", "kernel_constraint",
    "bias_constraint",
)  # fmt: skip


class MultiHeadAttention(Layer):
    """Heads of scaled dot-product attention: query (N, T, q), value and key (N, S, v) -> (N, T, q)."""

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: Any = None,
        sliding_window: int | None = None,
        flash_attention: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ):
        of = type(self)
        num_heads, key_dim = (
            positive_int(of, "num_heads", num_heads),
            positive_int(of, "key_dim", key_dim),
        )
        value_dim = key_dim if value_dim is None else positive_int(of, "value_dim", value_dim)
        dropout = fraction(of, "dropout", dropout)
        if sliding_window is not None:
            sliding_window = positive_int(of, "sliding_window", sliding_window)
        super().__init__(**kwargs)
        self.supports_masking = True
        self._num_heads, self._key_dim, self._value_dim = num_heads, key_dim, value_dim
        self._shared_heads = num_heads  # heads of key and value
        self._dropout, self._use_bias, self._use_gate = dropout, use_bias, use_gate
        self._output_shape = (
            (output_shape,) if is_int(output_shape) else tuple(output_shape or ()) or None
        )
        self._attention_axes = (attention_axes,) if is_int(attention_axes) else attention_axes
        self._sliding_window, self.seed = sliding_window, seed
        self._kernel_initializer = initializers.get(kernel_initializer)
        self._bias_initializer = initializers.get(bias_initializer)
        self._kernel_regularizer = regularizers.get(kernel_regularizer)
        self._bias_regularizer = regularizers.get(bias_regularizer)
        self._activity_regularizer = regularizers.get(activity_regularizer)
        self._kernel_constraint = constraints.get(kernel_constraint)
        self._bias_constraint = constraints.get(bias_constraint)

    num_heads = property(lambda self: self._num_heads)
    key_dim = property(lambda self: self._key_dim)
    value_dim = property(lambda self: self._value_dim)
    dropout = property(lambda self: self._dropout)
    use_bias = property(lambda self: self._use_bias)
    attention_axes = property(lambda self: self._attention_axes)
    query_dense = property(lambda self: self._query_dense)
    key_dense = property(lambda self: self._key_dense)
    value_dense = property(lambda self: self._value_dense)
    output_dense = property(lambda self: self._output_dense)

    def _dense(
        self, name: str, shape: Any, equation: str, output: list[Any], axes: str, **more: Any
    ) -> Any:
        """A projection with this layer's settings, built; unseeded ones draw their own numbers."""

        def fresh(initializer: Any) -> Any:
            renew = isinstance(initializer, initializers.Initializer)
            return type(initializer).from_config(initializer.get_config()) if renew else initializer

        made = EinsumDense(
            equation,
            output,
            bias_axes=axes if self._use_bias else None,
            kernel_initializer=fresh(self._kernel_initializer),
            bias_initializer=fresh(self._bias_initializer),
            kernel_regularizer=self._kernel_regularizer,
            bias_regularizer=self._bias_regularizer,
            activity_regularizer=self._activity_regularizer,
            kernel_constraint=self._kernel_constraint,
            bias_constraint=self._bias_constraint,
            dtype=self.dtype_policy,
            name=name,
            **more,
        )
        build_child(made, shape)
        return made

    def _into_heads(self, name: str, shape: Any, heads: int, width: int, **more: Any) -> Any:
        free = "abcdefgh"[: len(shape) - 1]
        output = [*shape[1:-1], heads, width]
        return self._dense(name, shape, f"{free}k,kxy->{free}xy", output, "xy", **more)

    def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
        if value_shape is None:
            refuse(
                f"{owner(self)} was called on one tensor, the query",
                "Attention is from a query to a value",
                "Call it as layer(query, value); for self-attention layer(x, x), in a functional model",
                code="KC201",
            )
        key_shape = value_shape if key_shape is None else key_shape
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            refuse(
                f"{owner(self)} got value {tuple(value_shape)} and key {tuple(key_shape)}",
                "Value and key agree in every axis but the last",
                "Pass a key for each value",
                code="KC201",
            )
        heads, shared = self._num_heads, self._shared_heads
        self._query_dense = self._into_heads("query", query_shape, heads, self._key_dim)
        self._key_dense = self._into_heads("key", key_shape, shared, self._key_dim)
        if self._use_gate:
            self._gate_dense = self._into_heads(
                "gate", query_shape, heads, self._value_dim, activation="sigmoid"
            )
        self._value_dense = self._into_heads("value", value_shape, shared, self._value_dim)
        self._build_attention(len(value_shape) + 1)
        outputs = "uvwz"[: len(self._output_shape or (1,))]
        free = "abcdefgh"[: len(query_shape) - 1]
        last = list(self._output_shape or (query_shape[-1],))
        inner = (*query_shape[:-1], self._num_heads, self._value_dim)
        equation = f"{free}xy,xy{outputs}->{free}{outputs}"
        output = [*query_shape[1:-1], *last]
        self._output_dense = self._dense("attention_output", inner, equation, output, outputs)
        self.built = True

    def _build_attention(self, rank: int) -> None:
        """`rank` counts the axes of projected values: batch, positions, heads, features."""
        axes = self._attention_axes
        if axes is None:
            axes = range(1, rank - 2)
        self._attention_axes = tuple(a if a >= 0 else rank - 1 + a for a in axes)
        letters = "abcdefgh"[:rank]
        source = list(letters)
        for i, a in enumerate(self._attention_axes):
            source[a] = "stuvw"[i]
        kept = [i for i in range(rank - 1) if i not in self._attention_axes]
        product = "".join(letters[i] for i in kept)
        product += "".join(letters[a] for a in self._attention_axes)
        product += "".join(source[a] for a in self._attention_axes)
        self._scores_equation = f"{''.join(source)},{letters}->{product}"
        self._combine_equation = f"{product},{''.join(source)}->{letters}"
        count = len(self._attention_axes)
        self._softmax = Softmax(
            axis=tuple(range(len(product) - count, len(product))), dtype=self.dtype_policy
        )
        self._dropout_layer = Dropout(self._dropout, dtype=self.dtype_policy, seed=self.seed)

    def call(
        self,
        query: Any,
        value: Any,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: Any = None,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        mask = self._mask(
            query, value, query_mask, value_mask, key_mask, attention_mask, use_causal_mask
        )
        # the masks have done their work: the projections neither need nor pass them on
        query, value, key = (Tensor(x.value) for x in (query, value, key))
        gate = self._gate_dense(query) if self._use_gate else None
        q, k, v = self._query_dense(query), self._key_dense(key), self._value_dense(value)
        out, scores = self._attend(q, k, v, mask, training, return_attention_scores)
        out = self._output_dense(out if gate is None else ops.multiply(out, gate))
        return (out, scores) if return_attention_scores else out

    def _attend(
        self, q: Any, k: Any, v: Any, mask: Any, training: Any, scores_wanted: bool
    ) -> tuple[Any, Any]:
        scale = 1.0 / math.sqrt(self._key_dim)
        if self._shared_heads != self._num_heads:
            times = self._num_heads // self._shared_heads
            k, v = ops.repeat(k, times, axis=2), ops.repeat(v, times, axis=2)
        if mask is not None:
            between = -len(self._attention_axes) * 2 - 1
            for _ in range(len(q.shape) + len(self._attention_axes) - 1 - len(mask.shape)):
                mask = ops.expand_dims(mask, between)
        softmax = scores_wanted or (self._dropout > 0 and (training or mask is not None))
        if len(q.shape) == 4 and not softmax:
            return ops.dot_product_attention(q, k, v, mask=mask, scale=scale), None
        scores = self._softmax(ops.einsum(self._scores_equation, k, q * scale), mask=mask)
        weights = self._dropout_layer(scores, training=training) if self._dropout > 0 else scores
        return ops.einsum(self._combine_equation, weights, v), scores

    def _mask(
        self, query: Any, value: Any, q: Any, v: Any, k: Any, given: Any, causal: bool
    ) -> Any:
        """All masks joined, (N or 1, T, S), or None."""
        parts = [
            None if q is None else ops.expand_dims(ops.cast(q, "bool"), -1),
            None if v is None else ops.expand_dims(ops.cast(v, "bool"), -2),
            None if k is None else ops.expand_dims(ops.cast(k, "bool"), -2),
        ]
        t, s = ops.shape(query)[1], ops.shape(value)[1]
        if causal or self._sliding_window is not None:
            row = ops.expand_dims(ops.arange(t, dtype="int32"), (0, 2))
            column = ops.expand_dims(ops.arange(s, dtype="int32"), (0, 1))
            if causal:
                parts.append(ops.greater_equal(row, column))
            if self._sliding_window is not None:
                parts.append(ops.less(ops.absolute(row - column), self._sliding_window))
        parts.append(None if given is None else ops.cast(given, "bool"))
        out = None
        for p in parts:
            if p is not None:
                out = p if out is None else ops.logical_and(out, p)
        return out

    def compute_mask(self, query: Any, previous_mask: Any = None) -> Any:
        return previous_mask

    def compute_output_shape(
        self, query_shape: Any, value_shape: Any, key_shape: Any = None
    ) -> Any:
        return (
            (*query_shape[:-1], *self._output_shape) if self._output_shape else tuple(query_shape)
        )

    def get_config(self) -> dict[str, Any]:
        own = (
            "num_heads",
            "key_dim",
            "value_dim",
            "dropout",
            "use_bias",
            "use_gate",
            "output_shape",
        )
        own += ("attention_axes", "sliding_window", *_SHARED, "activity_regularizer")
        given = configured(self, *own, read=lambda name: getattr(self, f"_{name}"))
        return super().get_config() | given | {"seed": self.seed}


class GroupedQueryAttention(MultiHeadAttention):
    """Attention whose query heads share fewer heads of key and value, each group one of them."""

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: Any = None,
        **kwargs: Any,
    ):
        of = type(self)
        heads = positive_int(of, "num_query_heads", num_query_heads)
        shared = positive_int(of, "num_key_value_heads", num_key_value_heads)
        if heads % shared:
            refuse(
                f"{owner(of)} was given num_query_heads={heads} and num_key_value_heads={shared}",
                "The query heads divide evenly among the heads of key and value",
                f"Take a multiple of {shared} query heads",
            )
        super().__init__(
            heads,
            positive_int(of, "head_dim", head_dim),
            dropout=dropout,
            use_bias=use_bias,
            sliding_window=sliding_window,
            kernel_initializer=kernel_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            bias_constraint=bias_constraint,
            use_gate=use_gate,
            seed=seed,
            **kwargs,
        )
        self._shared_heads = shared
        self.head_dim, self.num_query_heads, self.num_key_value_heads = head_dim, heads, shared

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("num_heads", "key_dim", "value_dim", "output_shape", "attention_axes"):
            del config[name]
        own = configured(self, "head_dim", "num_query_heads", "num_key_value_heads")
        return config | own


GroupQueryAttention = GroupedQueryAttention
