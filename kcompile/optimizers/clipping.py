"""Bounds on gradients: by the norm of each, or of all together.

Refuses to hold when they apply (`kcompile.optimizers.optimizer`).
"""

from __future__ import annotations

from typing import Any

import kcompile.ops as ops


def clip_by_norm(gradient: Any, bound: float) -> Any:
    """`gradient`, scaled down where its Euclidean norm exceeds `bound`."""
    norm = ops.sqrt(ops.sum(ops.square(gradient)))
    return gradient * (bound / ops.maximum(norm, bound))


def global_norm(gradients: list[Any]) -> Any:
    """The Euclidean norm of all gradients together."""
    total = None
    for g in gradients:
        if g is not None:
            square = ops.sum(ops.square(g))
            total = square if total is None else total + square
    return ops.sqrt(total)


def clip_by_global_norm(gradients: list[Any], bound: float) -> list[Any]:
    """Gradients, all scaled down where their common norm exceeds `bound`; NaN where it is not finite."""
    norm = global_norm(gradients)
    scale = bound / ops.maximum(norm, bound) + (norm - norm)
    return [None if g is None else g * scale for g in gradients]
