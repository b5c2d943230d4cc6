"""Names that are not there: what to write instead of them, or the name that was meant.

The tables hold names of Keras 1 and 2 that are still met, and those of Keras 3 that kcompile lacks.
Refuses to make any of them work.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, NoReturn

from kcompile.arguments import closest
from kcompile.errors import KCAttributeError, KCTypeError

# public name -> what to do instead
_NAMES: dict[str, str] = {
    "layers.CuDNNLSTM": "use LSTM",
    "layers.CuDNNGRU": "use GRU",
    "layers.Merge": "use Add, Concatenate, Multiply, ...",
    "layers.merge": "use layers.add, layers.concatenate, layers.multiply, ...",
    "layers.MaxoutDense": "use Dense, Reshape and ops.max",
    "layers.TextVectorization": "turn texts into word indices first, then utils.pad_sequences",
    "layers.StringLookup": "turn strings into integers before fit",
    "layers.Discretization": "call ops.digitize in a Lambda or a layer of your own, then CategoryEncoding",
    "layers.Hashing": "turn values into integers below a number before fit",
    "layers.RandomCrop": "use RandomTranslation and CenterCrop, or crop in a generator of batches",
    "layers.IntegerLookup": "turn values into indices from 0 on before fit",
    "preprocessing.text": "split and number the words yourself, then utils.pad_sequences",
    "preprocessing.image": "augment with NumPy in a utils.PyDataset or a generator of batches",
    "utils.np_utils": "call utils.to_categorical",
    "utils.plot_model": "write model.dump_ir(format='dot') to a file for Graphviz, or use model.summary()",
    "optimizers.legacy": "take the optimizer from keras.optimizers",
    "wrappers": "write the loop over settings yourself",
    "applications": "build the model from layers, or bring one as a .keras file",
    "callbacks.TensorBoard": "use CSVLogger, or write the logs from a LambdaCallback",
    "backend.set_session": "drop the call: there are no sessions",
}  # fmt: skip
_MODEL: dict[str, str] = {
    "load": "call keras.models.load_model(path), or model.load_weights(path)",
    "predict_classes": "write model.predict(x).argmax(-1)",
    "predict_proba": "call predict",
    "fit_generator": "call fit: it takes generators",
    "evaluate_generator": "call evaluate: it takes generators",
    "predict_generator": "call predict: it takes generators",
}
_ARGUMENTS: dict[str, str] = {
    "nb_epoch": "write epochs=",
    "samples_per_epoch": "write steps_per_epoch=, counted in batches",
    "nb_val_samples": "write validation_steps=, counted in batches",
    "workers": "give workers to the PyDataset",
    "use_multiprocessing": "give use_multiprocessing to the PyDataset",
    "max_queue_size": "give max_queue_size to the PyDataset",
    "show_accuracy": "write compile(metrics=['accuracy'])",
    "class_mode": "leave it out: the loss tells",
    "sample_weight_mode": "leave it out: the shape of sample_weight tells",
    "target_tensors": "leave it out",
    "input": "write inputs=",
    "output": "write outputs=",
    "batch_input_shape": "put Input(batch_shape=...) in front of the layer",
    "weights": "call set_weights once the layer is built",
    "input_length": "put Input(shape=...) in front of the layer",
    "output_dim": "write units= (in Embedding: output_dim)",
    "init": "write kernel_initializer=",
    "inner_init": "write recurrent_initializer=",
    "inner_activation": "write recurrent_activation=",
    "W_regularizer": "write kernel_regularizer=",
    "b_regularizer": "write bias_regularizer=",
    "W_constraint": "write kernel_constraint=",
    "b_constraint": "write bias_constraint=",
    "bias": "write use_bias=",
    "p": "write rate=",
    "nb_filter": "write filters=",
    "nb_row": "write kernel_size=(rows, columns)",
    "nb_col": "write kernel_size=(rows, columns)",
    "filter_length": "write kernel_size=",
    "border_mode": "write padding=",
    "subsample": "write strides=",
    "dim_ordering": "write data_format=",
    "mode": "leave it out",
    "consume_less": "leave it out",
}


def of(module: str, later: Iterable[str] = ()) -> Callable[[str], NoReturn]:
    """The `__getattr__` of a public namespace: an AttributeError that says what to write instead.

    later: names that are not in the module yet.
    """
    short = module.partition(".")[2]

    def __getattr__(name: str) -> NoReturn:
        held = vars(sys.modules[module]).items()
        names = (
            [k for k, v in held if not isinstance(v, ModuleType)]
            if short != "datasets"
            else dict(held)
        )
        raise missing(module, name, [*names, *later], _NAMES.get(f"{short}.{name}"))

    return __getattr__


def missing(
    module: str, name: str, known: Iterable[str], instead: str | None = None
) -> KCAttributeError:
    """The error that a namespace lacks a name."""
    near = closest(name, [k for k in known if not k.startswith("_")])
    return KCAttributeError(
        "KC109",
        f"{module}.{name}",
        f"{module} has no {name!r}",
        instead
        or _NAMES.get(name)
        or (f"did you mean {near!r}?" if near else f"see dir({module})"),
    )


def of_model(model: Any, name: str) -> Any:
    """What looking up an attribute that a model lacks comes to: the usual error, or a better one."""
    if name in _MODEL:
        raise KCAttributeError(
            "KC109", f"{type(model).__name__}.{name}", "Keras 3 has no such method", _MODEL[name]
        )
    return object.__getattribute__(model, name)


def unexpected(call: str, given: Mapping[str, Any], known: Iterable[str]) -> KCTypeError:
    """The error that `call` was given keywords it does not take: the new spelling, or the one meant."""
    taken = sorted(k for k in known if not k.startswith("_"))
    advice = []
    for name in given:
        near = closest(name, taken)
        advice.append(_ARGUMENTS.get(name) or (f"did you mean {near!r}?" if near else None))
    found = [f"{n}: {a}" if len(given) > 1 else a for n, a in zip(given, advice, strict=True) if a]
    return KCTypeError(
        "KC107",
        f"{call}({', '.join(f'{k}=...' for k in given)})",
        f"{call} takes {', '.join(taken)}",
        "; ".join(found) or "leave the argument out",
    )


def refusing_others(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose error for an unknown keyword is that of `unexpected`."""
    known = tuple(inspect.signature(method).parameters)[1:]

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.keys() <= set(known):
            others = {k: v for k, v in kwargs.items() if k not in known}
            raise unexpected(method.__name__, others, known)
        return method(self, *args, **kwargs)

    return call


def parameters(cls: type) -> set[str]:
    """The names of all arguments that `cls(...)` takes, those of its bases with them."""
    out: set[str] = set()
    for base in cls.__mro__:
        if "__init__" in vars(base) and base is not object:
            found = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
            out |= {p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
            if not any(p.kind is p.VAR_KEYWORD for p in found):
                break
    return out


_signature = functools.lru_cache(maxsize=256)(inspect.signature)


def check_arguments(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise KCTypeError KC107 when `cls(*args, **kwargs)` cannot be called."""
    try:
        _signature(cls.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
    except TypeError as error:
        known = parameters(cls)
        other = {k: v for k, v in kwargs.items() if k not in known}
        if other:
            raise unexpected(cls.__name__, other, known) from None
        raise KCTypeError(
            "KC107",
            f"{cls.__name__}({_shown(args, kwargs)})",
            str(error),
            f"{cls.__name__} takes {', '.join(sorted(known))}",
        ) from None


class Checked:
    """A class whose instances are made by keywords: one that it does not take is refused as `check_arguments` does."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:  # copies are made without
            check_arguments(cls, args, kwargs)
        return super().__new__(cls)


def _shown(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    short = [repr(a) if isinstance(a, (int, float, str)) else "..." for a in args]
    return ", ".join([*short, *(f"{k}=..." for k in kwargs)])
