"""CategoryEncoding: class numbers as rows of zeros and ones, or as counts.

Refuses to hold what turns words or values into numbers: that happens before the graph.
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops
from kcompile.arguments import choice, positive_int, refuse
from kcompile.layer import Layer
from kcompile.layers.settings import configured


class CategoryEncoding(Layer):
    """Ints in [0, num_tokens): each as a row ("one_hot"), or those of a sample in one row ("multi_hot", "count").

    sparse=True is refused: every tensor is dense.
    """

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if sparse:
            refuse(
                "CategoryEncoding was given sparse=True",
                "Every tensor is dense",
                "Leave the argument out",
            )
        self.num_tokens = positive_int(self, "num_tokens", num_tokens)
        mode = "multi_hot" if output_mode == "binary" else output_mode
        self.output_mode = choice(
            type(self), "output_mode", mode, ("multi_hot", "one_hot", "count")
        )
        self.autocast = False
        self.built = True

    def call(self, inputs: Any, count_weights: Any = None) -> Any:
        if count_weights is not None and self.output_mode != "count":
            refuse(
                f"{type(self).__name__} of output_mode={self.output_mode!r} was given count_weights",
                "Weights belong to counts",
                "Pass output_mode='count', or no weights",
            )
        x = ops.cast(inputs, "int32")
        if len(x.shape) == 0:
            x = ops.reshape(x, (1,))
        if self.output_mode == "one_hot":
            single = len(x.shape) > 1 and x.shape[-1] == 1
            return ops.one_hot(
                ops.squeeze(x, -1) if single else x, self.num_tokens, dtype=self.compute_dtype
            )
        if self.output_mode == "multi_hot":
            return ops.multi_hot(x, self.num_tokens, dtype=self.compute_dtype)
        rows = ops.one_hot(x, self.num_tokens, dtype=self.compute_dtype)
        if count_weights is not None:
            rows = rows * ops.cast(count_weights, self.compute_dtype)[..., None]
        return ops.sum(rows, axis=-2)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | configured(self, "num_tokens", "output_mode")
