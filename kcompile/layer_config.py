"""`Configured`: what a layer was made from and built for, as plain data, and the way back.

The arguments of `__init__` are remembered, so that a class without a `get_config` of its own has one. Refuses to
hold the form of a saved object (`kcompile.serialization`) and the call (`kcompile.layer`).
"""

from __future__ import annotations

import inspect
from typing import Any

import kcompile.absent as absent
import kcompile.policy as policy
from kcompile.layer_call import map_shapes
from kcompile.layer_weights import Weighted
from kcompile.serialization import serialize_keras_object


class Configured(Weighted):
    """A layer's config: `get_config`, `from_config`, and the shapes it was built for."""

    _init_arguments: tuple[tuple[Any, ...], dict[str, Any]]
    _build_shapes: Any
    activity_regularizer: Any
    dtype_policy: Any
    build: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        absent.check_arguments(cls, args, kwargs)
        made = super().__new__(cls)
        made.__dict__["_init_arguments"] = (args, kwargs)
        return made

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs: name, trainable, dtype, and captured arguments unless overridden.

        Raises KCNotImplementedError KC404 when an argument of `__init__` cannot be written down.
        """
        out: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": policy.serialize(self.dtype_policy),
        }
        if self.activity_regularizer is not None:
            out["activity_regularizer"] = serialize_keras_object(self.activity_regularizer)
        if type(self).get_config is Configured.get_config:
            out |= {k: v for k, v in self._captured().items() if k not in out}
        return out

    def _captured(self) -> dict[str, Any]:
        args, kwargs = self._init_arguments
        bound = inspect.signature(type(self).__init__).bind(self, *args, **kwargs)
        out: dict[str, Any] = {}
        for name, value in list(bound.arguments.items())[1:]:
            kind = bound.signature.parameters[name].kind
            out |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
        return {k: serialize_keras_object(v) for k, v in out.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A layer from what `get_config` gave."""
        return cls(**config)

    def get_build_config(self) -> dict[str, Any] | None:
        """The shapes it was built for."""
        if not self._build_shapes:
            return None
        names = list(inspect.signature(self.build).parameters)
        shapes = {n: s for n, s in zip(names, self._build_shapes, strict=False) if s is not None}
        return (
            {"input_shape": self._build_shapes[0]} if len(shapes) <= 1 else {"shapes_dict": shapes}
        )

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build for the shapes of `get_build_config`."""
        if self.built or not config:
            return
        named = config.get("shapes_dict")
        if named is not None:
            shapes = {k: map_shapes(tuple, v) for k, v in named.items()}
            self.build(**shapes)
            names = list(inspect.signature(self.build).parameters)
            self._build_shapes = tuple(shapes.get(n) for n in names)
        else:
            given = [config["input_shape"]] if "input_shape" in config else list(config.values())
            self.build(*(map_shapes(tuple, s) for s in given))
            self._build_shapes = tuple(given)
        self.built = True
