"""Dtype policies: in which dtype a layer keeps its weights and in which it computes.

Refuses to hold the casts themselves (`Layer.__call__` and `Variable.value` do them).
"""

from __future__ import annotations

from typing import Any

import kcompile.settings as settings
from kcompile.dtypes import standardize_dtype
from kcompile.errors import KCValueError

_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}


class DTypePolicy:
    """A dtype by name, or "mixed_float16" / "mixed_bfloat16": weights in float32, computing in 16 bits."""

    def __init__(self, name: str = "float32"):
        if name in _MIXED:
            self._name, self.compute_dtype, self.variable_dtype = name, _MIXED[name], "float32"
        else:
            self._name = self.compute_dtype = self.variable_dtype = standardize_dtype(name)

    @property
    def name(self) -> str:
        return self._name

    quantization_mode = None

    def get_config(self) -> dict[str, Any]:
        return {"name": self._name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other._name == self._name

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self._name}">'


_global: list[DTypePolicy] = []


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are given none."""
    return _global[-1] if _global else DTypePolicy(settings.floatx())


def set_dtype_policy(policy: Any) -> None:
    """Set the policy of layers that are given none."""
    _global[:] = [get(policy)]


def get(identifier: Any) -> DTypePolicy:
    """A policy from a policy, a name, a dtype, a config, or None. Raises KCValueError KC103."""
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        inner = identifier.get("config", identifier)
        name = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(name, str):
            raise KCValueError(
                "KC103",
                f"the dtype policy {identifier!r}",
                "a policy has a name",
                "pass a name such as 'float32'",
            )
        return DTypePolicy(name)
    return DTypePolicy(identifier if isinstance(identifier, str) else standardize_dtype(identifier))


def serialize(policy: DTypePolicy) -> dict[str, Any]:
    """The policy as Keras writes it."""
    return {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": policy.get_config(),
        "registered_name": None,
    }


def deserialize(config: Any, custom_objects: Any = None) -> DTypePolicy:
    """The inverse of `serialize`."""
    return get(config)
