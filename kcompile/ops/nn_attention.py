"""Attention of `keras.ops.nn`.

Refuses to hold projections and heads' layers.
"""

from __future__ import annotations

import math
from typing import Any

import ir.ops as ir
from ir.graph import Value
from kcompile.operation import defines
from kcompile.ops.linalg import product
from kcompile.ops.movement import reshaped
from kcompile.ops.numpy_compare import truth
from kcompile.ops.numpy_create import on_diagonal
from kcompile.ops.operand import broadcast_to, promoted, scalar_like, tensor
from kcompile.tensor import Tensor

op = defines("keras.src.ops.nn")


@op("query", "key", "value", "bias", "mask", "scale")
def dot_product_attention(
    query: Any, key: Any, value: Any, bias: Any = None, mask: Any = None, scale: Any = None,
    is_causal: bool = False, flash_attention: Any = None, attn_logits_soft_cap: Any = None,
) -> Any:  # fmt: skip
    """softmax(scale * q k^T + bias, where mask allows) v, for [batch, time, heads, depth]; fewer key heads repeat."""
    q, k, v = promoted((query, key, value), float)
    heads, own = q.type.shape[2], k.type.shape[2]
    if heads != own:
        k, v = (_repeated(w, heads // own) for w in (k, v))
    q, k, v = (ir.transpose(w, perm=(0, 2, 1, 3)) for w in (q, k, v))
    factor = float(1.0 / math.sqrt(q.type.shape[-1])) if scale is None else float(scale)
    scores = (*q.type.shape[:3], k.type.shape[2])
    allowed = broadcast_to(truth(mask), scores) if mask is not None else None
    if is_causal:
        causal = on_diagonal(scores, 0, ir.le)
        allowed = causal if allowed is None else ir.logical_and(allowed, causal)
    if bias is not None or attn_logits_soft_cap is not None:
        logits = Tensor(ir.contract(q, k, spec="nhtd,nhsd->nhts")) * factor
        if attn_logits_soft_cap is not None:
            logits = Tensor(ir.tanh((logits / float(attn_logits_soft_cap)).value)) * float(
                attn_logits_soft_cap
            )
        if bias is not None:
            logits = logits + tensor(bias)
        s = logits.value
        if allowed is not None:
            s = ir.select(allowed, s, scalar_like(s, -1e9 if s.type.dtype != "f16" else -3e4))
        out = product(ir.softmax(s, axis=3), v)
    elif allowed is None:
        out = ir.attention_nomask(q, k, v, scale=factor)
    else:
        out = ir.attention(q, k, v, allowed, scale=factor)
    return Tensor(ir.transpose(out, perm=(0, 2, 1, 3)))


def _repeated(v: Value, times: int) -> Value:
    n, t, h, d = v.type.shape
    return reshaped(
        ir.broadcast(v, shape=(n, t, h, times, d), axes=(0, 1, 2, 4)), (n, t, h * times, d)
    )
