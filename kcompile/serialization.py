"""Configs: objects written as plain data in Keras 3's form, and made again from a closed registry.

A config can name our own classes, what was registered, and the custom objects passed. Refuses to
import, evaluate or unpickle anything that a config names, and code (`__lambda__`) altogether.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import kcompile.dtypes as dtypes
from kcompile.errors import KCTypeError, KCValueError
from kcompile.operation import SPECS, OpCall
from kcompile.policy import DTypePolicy
from kcompile.tensor import KerasTensor, Tensor
from kcompile.variable import Variable

_custom: dict[str, Any] = {}  # by registered or plain name
_names: dict[Any, str] = {}  # registered name of a class or function
_scopes: list[dict[str, Any]] = []

# Where our classes live, and the Keras module each stands for. The only modules a config can reach.
_HOMES: tuple[tuple[str, str], ...] = (
    ("kcompile.layers", "keras.layers"), ("kcompile.initializers", "keras.initializers"),
    ("kcompile.regularizers", "keras.regularizers"), ("kcompile.constraints", "keras.constraints"),
    ("kcompile.activations", "keras.activations"), ("kcompile.losses", "keras.losses"),
    ("kcompile.metrics", "keras.metrics"), ("kcompile.optimizers.schedules", "keras.optimizers.schedules"),
    ("kcompile.optimizers", "keras.optimizers"), ("kcompile.random", "keras.random"),
    ("kcompile.policy", "keras"), ("kcompile.sequential", "keras"), ("kcompile.input_layer", "keras.layers"),
    ("kcompile.functional", "keras.src.models.functional"), ("kcompile.model", "keras"),
    ("kcompile.input_spec", "keras"), ("kcompile.layer", "keras.layers"), ("kcompile.variable", "keras"),
)  # fmt: skip


class CustomObjectScope:
    """A context in which configs may name these objects: `{"MyLayer": MyLayer}`."""

    def __init__(self, custom_objects: Mapping[str, Any] | None):
        self.custom_objects = dict(custom_objects or {})

    def __enter__(self) -> CustomObjectScope:
        _scopes.append(self.custom_objects)
        return self

    def __exit__(self, *error: Any) -> None:
        _scopes.pop()


custom_object_scope = CustomObjectScope


def get_custom_objects() -> dict[str, Any]:
    """The registered objects by name: a dict that may be added to."""
    return _custom


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[Any], Any]:
    """A decorator that lets configs name a class or function as "package>name"."""

    def register(obj: Any) -> Any:
        registered = f"{package}>{name or obj.__name__}"
        if isinstance(obj, type) and not hasattr(obj, "get_config"):
            raise KCValueError(
                "KC404",
                f"{obj.__name__} without get_config",
                "a registered class can be written as a config",
                "define get_config",
            )
        _custom[registered] = obj
        _names[obj] = registered
        return obj

    return register


def get_registered_name(obj: Any) -> str:
    """The name `obj` was registered under, else its own."""
    return _names.get(obj) or str(obj.__name__)


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any:
    """The object registered under `name`, or None."""
    for book in (custom_objects or {}, *reversed(_scopes), _custom, module_objects or {}):
        if name in book:
            return book[name]
    return None


# -- writing ---------------------------------------------------------------------------------------


def keras_module(cls: Any) -> str | None:
    """The Keras module our class or function stands for, or None for a user's own."""
    own = getattr(cls, "__module__", "") or ""
    if own == "kcompile.model" and getattr(cls, "__name__", "") == "Functional":
        return "keras.src.models.functional"
    for home, module in _HOMES:
        if own == home or own.startswith(home + "."):
            return module
    return None


def serialize_keras_object(obj: Any) -> Any:
    """`obj` as plain data: numbers, strings, lists, dicts. Raises KCTypeError KC404.

    Objects become {module, class_name, config, registered_name}.
    """
    if obj is None or (
        isinstance(obj, (bool, int, float, str)) and not isinstance(obj, np.generic)
    ):
        return obj
    if isinstance(obj, bytes):
        return {"class_name": "__bytes__", "config": {"value": obj.decode("latin-1")}}
    if isinstance(obj, (list, tuple)):
        return (
            type(obj)(map(serialize_keras_object, obj))
            if not hasattr(obj, "_fields")
            else [serialize_keras_object(x) for x in obj]
        )
    if isinstance(obj, (set, frozenset)):
        return [serialize_keras_object(x) for x in sorted(obj)]
    if isinstance(obj, Mapping):
        return {k: serialize_keras_object(v) for k, v in obj.items()}
    if isinstance(obj, (np.ndarray, np.generic)):
        if obj.ndim == 0:
            return obj.item()
        return {
            "class_name": "__numpy__",
            "config": {"value": obj.tolist(), "dtype": obj.dtype.name},
        }
    if isinstance(obj, Variable):
        return {
            "class_name": "__tensor__",
            "config": {"value": obj.numpy().tolist(), "dtype": obj.dtype},
        }
    if isinstance(obj, KerasTensor):
        history = obj._keras_history
        place = (
            None
            if history is None
            else [history.operation.name, history.node_index, history.tensor_index]
        )
        return {
            "class_name": "__keras_tensor__",
            "config": {"shape": list(obj.shape), "dtype": obj.dtype, "keras_history": place},
        }
    if isinstance(obj, slice):
        return {
            "class_name": "__slice__",
            "config": {
                k: serialize_keras_object(getattr(obj, k)) for k in ("start", "stop", "step")
            },
        }
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(obj, np.dtype):
        return obj.name
    if isinstance(obj, type) and issubclass(obj, (np.generic, bool, int, float)):
        return dtypes.standardize_dtype(obj)
    if isinstance(obj, OpCall):
        module, name = obj.spec.module, obj.spec.class_name
        return {
            "module": module,
            "class_name": name,
            "config": serialize_keras_object(obj.get_config()),
            "registered_name": name,
        }
    if isinstance(
        obj, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
    ) and not hasattr(obj, "get_config"):
        return _serialize_function(obj)
    if isinstance(obj, type):
        module = keras_module(obj)
        return {
            "module": module or obj.__module__,
            "class_name": obj.__name__,
            "config": {},
            "registered_name": get_registered_name(obj),
        }
    if isinstance(obj, Tensor) or not hasattr(obj, "get_config"):
        raise KCTypeError(
            "KC404", f"an object of type {type(obj).__name__}", "what is saved is a number, string, list, dict, array, or has get_config",
            "define get_config() on it, or leave it out of the config",
        )  # fmt: skip
    return _serialize_object(obj)


def _serialize_object(obj: Any) -> dict[str, Any]:
    cls = type(obj)
    module = keras_module(cls)
    registered = (
        None
        if module is not None and not module.startswith("keras.src")
        else get_registered_name(cls)
    )
    out = {
        "module": module or cls.__module__,
        "class_name": cls.__name__,
        "config": serialize_keras_object(obj.get_config()),
        "registered_name": registered,
    }
    for key, method in (
        ("build_config", "get_build_config"),
        ("compile_config", "get_compile_config"),
    ):
        more = getattr(obj, method)() if hasattr(obj, method) else None
        if more:
            out[key] = serialize_keras_object(more)
    return out


def _serialize_function(fn: Any) -> dict[str, Any]:
    name = getattr(fn, "__name__", "")
    if name == "<lambda>":
        raise KCTypeError(
            "KC404", "a lambda", "code is never written to a file, and never read from one",
            "use a named function decorated with register_keras_serializable, or pass it again as custom_objects",
        )  # fmt: skip
    module = keras_module(fn)
    return {
        "module": module or "builtins",
        "class_name": "function",
        "config": name,
        "registered_name": get_registered_name(fn),
    }


# -- reading ---------------------------------------------------------------------------------------


_FUNCTIONS = frozenset({"kcompile.activations", "kcompile.losses", "kcompile.metrics"})


def builtin(name: str, keras_home: Any = None, function: bool = False) -> Any:
    """Our own class (or public function) of this name, or None. Nothing is imported for it.

    Where several have it (losses and metrics do), the one whose Keras module is `keras_home`.
    """
    for home, _ in sorted(_HOMES, key=lambda pair: pair[1] != keras_home):
        module = sys.modules.get(home)
        found = getattr(module, name, None) if module is not None else None
        if not str(getattr(found, "__module__", "")).startswith("kcompile."):
            continue
        if (
            isinstance(found, type)
            if not function
            else home in _FUNCTIONS and isinstance(found, types.FunctionType)
        ):
            return found
    return None


def deserialize_keras_object(
    config: Any,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
    module_objects: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Any:
    """The object a config describes. Raises KCValueError KC401 (unknown name), KC405 (refused).

    `module_objects` are further names; `safe_mode` changes nothing: code is refused either way.
    """
    if config is None or isinstance(config, (bool, int, float, np.ndarray)):
        return config
    if isinstance(config, str):
        found = get_registered_object(config, custom_objects, module_objects)
        return config if found is None else found
    with CustomObjectScope(custom_objects):
        if isinstance(config, (list, tuple)):
            return type(config)(
                deserialize_keras_object(c, module_objects=module_objects) for c in config
            )
        if isinstance(config, Mapping):
            if "class_name" not in config or "config" not in config:
                return {
                    k: deserialize_keras_object(v, module_objects=module_objects)
                    for k, v in config.items()
                }
            return _make(config, module_objects or {})
    return config


def _make(config: Mapping[str, Any], module_objects: Mapping[str, Any]) -> Any:
    name, inner = config["class_name"], config["config"]
    if not isinstance(name, str):
        raise KCValueError(
            "KC402",
            f"class_name={name!r}",
            "a class_name is a string",
            "the config is damaged: use another copy",
        )
    if name.startswith("__") and name in _SPECIAL:
        return _SPECIAL[name](inner)
    if name == "__lambda__":
        raise KCValueError(
            "KC405", "a config that holds marshalled code (a lambda)", "code from a file is never run",
            "replace the lambda by a registered function, or rebuild the model in code and load the weights",
        )  # fmt: skip
    registered = config.get("registered_name")
    if name == "function":
        found = _find(
            inner if isinstance(inner, str) else str(registered),
            registered,
            module_objects,
            config.get("module"),
            function=True,
        )
        if found is None:
            raise _unknown("function", inner, config)
        return found
    cls = _find(name, registered, module_objects, config.get("module"))
    if cls is None:
        raise _unknown("class", registered or name, config)
    if isinstance(cls, type) and not hasattr(cls, "from_config"):
        raise KCValueError(
            "KC401",
            f"the class {name!r}",
            "a class in a config has from_config",
            "define from_config, or check the name",
        )
    if not isinstance(cls, type):
        return cls
    if not isinstance(inner, Mapping):
        raise KCValueError(
            "KC402",
            f"the config of {name!r}: {inner!r}",
            "a config is a dict",
            "the file is damaged: use another copy",
        )
    made = cls.from_config(dict(inner))  # type: ignore[attr-defined]
    build = config.get("build_config")
    if build and hasattr(made, "build_from_config"):
        made.build_from_config(build)
    compiling = config.get("compile_config")
    if compiling and hasattr(made, "compile_from_config"):
        made.compile_from_config(compiling)
    return made


def _find(
    name: str, registered: Any, module_objects: Mapping[str, Any], home: Any, function: bool = False
) -> Any:
    for key in (registered, name):
        if isinstance(key, str):
            found = get_registered_object(key)
            if found is not None:
                return found
    return module_objects.get(name) if name in module_objects else builtin(name, home, function)


def _unknown(kind: str, name: Any, config: Mapping[str, Any]) -> KCValueError:
    kerass = str(config.get("module")).startswith("keras.")
    return KCValueError(
        "KC401", f"the {kind} {name!r} (module {config.get('module')!r})" + kerass * ", which kcompile does not have",
        "a config names classes of this package, registered ones, or custom_objects",
        f"pass custom_objects={{{str(name).rpartition('>')[2]!r}: ...}}, or decorate it with register_keras_serializable",
    )  # fmt: skip


def make_operation(config: Mapping[str, Any]) -> Any:
    """The operation node (`Add`, `Multiply`, ...) of a functional config, or None if it is none."""
    spec = SPECS.get(str(config.get("class_name")))
    if spec is None or not str(config.get("module", "")).startswith("keras.src.ops"):
        return None
    inner = {k: deserialize_keras_object(v) for k, v in config["config"].items()}
    name = inner.pop("name", None)
    return OpCall(spec, inner, name)


def _array(inner: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    return np.array(inner["value"], dtype=inner["dtype"])


_SPECIAL: dict[str, Callable[[Any], Any]] = {
    "__numpy__": _array,
    "__tensor__": _array,
    "__bytes__": lambda inner: inner["value"].encode("latin-1"),
    "__slice__": lambda inner: slice(
        *(deserialize_keras_object(inner[k]) for k in ("start", "stop", "step"))
    ),
    "__ellipsis__": lambda inner: Ellipsis,
    "__tuple__": lambda inner: tuple(deserialize_keras_object(v) for v in inner["value"]),
    "__keras_tensor__": lambda inner: KerasTensor(inner["shape"], inner["dtype"]),
    "DTypePolicy": lambda inner: DTypePolicy(**inner),
}
