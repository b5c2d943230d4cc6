"""Where batches come from: arrays in memory (`Arrays`) or an iterable of batches (`Stream`).

A source knows its batches, their order, and how an epoch begins and ends. Refuses to run anything and to
know the model.
"""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import kcompile.arguments as arguments
from kcompile.errors import KCTypeError, KCValueError
from kcompile.fit.arrays import (
    all_arrays,
    check_lengths,
    convert,
    fold_numbers,
    spread_weights,
    weights_of_classes,
)
from kcompile.fit.batch import Batch, unpack
from kcompile.fit.py_dataset import PyDataset, batches_of

RAN_OUT = (
    "Your input ran out of data; interrupting training. Make sure that your dataset or generator can "
    "generate at least `steps_per_epoch * epochs` batches."
)


class Arrays:
    """Data in memory. `num_batches` in an epoch, the last one possibly partial."""

    def __init__(self, data: Batch, batch_size: int, shuffle: bool | str):
        self.data, self.batch_size, self.shuffle = data, batch_size, shuffle
        self.samples = data.size
        self.num_batches = math.ceil(self.samples / batch_size)
        self._order: np.ndarray[Any, Any] | None = None
        self._ahead: np.ndarray[Any, Any] | None = None  # the order of the epoch to come
        self._next = 0
        self._kept: dict[Any, Any] = {}

    def kept(self, exe: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives for an executable, made once: it may hold the data, on a device for example."""
        if exe not in self._kept:
            self._kept[exe] = make()
        return self._kept[exe]

    def first(self) -> Batch:
        """The specification of the first batch."""
        return self.data.specs(min(self.batch_size, self.samples))

    def epoch(self, steps: int | None) -> tuple[np.ndarray[Any, Any] | None, int, int]:
        """The order of samples (None: as they lie), and the first and the end of this epoch's batches.

        With `steps`, an epoch continues where the one before stopped; it warns where data run out.
        """
        if steps is None or self._next == 0:
            self._order = self._permutation() if self._ahead is None else self._ahead
            self._ahead, self._next = None, 0
        first = self._next
        end = min(first + (steps or self.num_batches), self.num_batches)
        if steps is not None and end - first < steps:
            warnings.warn(RAN_OUT, stacklevel=4)
        order = self._order
        self._next = end % self.num_batches
        return order, first, end

    def draw(self, steps: int | None) -> None:
        """Draw the order of the next epoch, which comes for certain, while a device is busy with this one."""
        if steps is None or self._next == 0:
            self._ahead = self._permutation()

    def reset(self) -> None:
        """The next epoch starts at the first batch."""
        self._next = 0

    def _permutation(self) -> np.ndarray[Any, Any] | None:
        if self.shuffle == "batch":
            lows = range(0, self.samples, self.batch_size)
            return np.concatenate(
                [
                    low + np.random.permutation(min(self.batch_size, self.samples - low))
                    for low in lows
                ]
            )
        return np.random.permutation(self.samples) if self.shuffle else None


class Stream:
    """Batches from an iterable. `num_batches` is None where unknown; `restarts`: another epoch can begin anew."""

    def __init__(
        self,
        begin: Callable[[], Iterator[Any]],
        num_batches: int | None = None,
        restarts: bool = True,
        class_weight: Mapping[int, float] | None = None,
        dataset: Any = None,
        what: str = "generator",
    ):
        self._begin, self.num_batches, self.restarts = begin, num_batches, restarts
        self._class_weight, self._dataset, self._what = class_weight, dataset, what
        self._iterator: Iterator[Any] | None = None
        self._peeked: list[Batch] = []
        self.exhausted = False
        self.only_x = False  # prediction: drop targets and weights

    def first(self) -> Batch:
        """The specification of the first batch, which is kept for the first epoch."""
        if not self._peeked:
            batch = self._pull()
            if batch is None:
                raise KCValueError(
                    "KC303", f"an empty {self._what}", "there is at least one batch",
                    "check that it yields (x, y) batches, and that it was not used up before",
                )  # fmt: skip
            self._peeked.append(batch)
        return self._peeked[0].specs()

    def epoch(self, steps: int | None) -> Iterator[Batch]:
        """The batches of one epoch: `steps` of them, or all. Warns where data run out before."""
        if self._dataset is not None and hasattr(self._dataset, "on_epoch_begin"):
            self._dataset.on_epoch_begin()
        if steps is None and not self._peeked and self.restarts:
            self._iterator = None
        count = 0
        for count in itertools.count():
            if steps is not None and count >= steps:
                break
            batch = self._peeked.pop() if self._peeked else self._pull()
            if batch is None:
                if steps is not None and not (count == 0 and self.restarts):
                    warnings.warn(RAN_OUT, stacklevel=5)
                if steps is not None and count == 0 and self.restarts:
                    self._iterator = None
                    yield from self._again(steps)
                break
            yield Batch(batch.x) if self.only_x else batch
        if steps is None and self.num_batches is None and self.restarts:
            self.num_batches = count
        if self._dataset is not None and hasattr(self._dataset, "on_epoch_end"):
            self._dataset.on_epoch_end()

    def reset(self) -> None:
        """The next epoch starts at the first batch where that is possible."""
        if self.restarts and not self._peeked:
            self._iterator = None

    @property
    def at_end(self) -> bool:
        """Whether nothing is left and nothing can begin anew."""
        return self.exhausted and not self.restarts

    def _again(self, steps: int) -> Iterator[Batch]:
        for count in range(steps):
            batch = self._pull()
            if batch is None:
                if count:
                    warnings.warn(RAN_OUT, stacklevel=6)
                return
            yield Batch(batch.x) if self.only_x else batch

    def _pull(self) -> Batch | None:
        if self._iterator is None:
            self._iterator = self._begin()
            self.exhausted = False
        try:
            raw = next(self._iterator)
        except StopIteration:
            self.exhausted = True
            if self.restarts:
                self._iterator = None
            return None
        return make_batch(unpack(raw), self._class_weight)


def make_batch(raw: Batch, class_weight: Mapping[int, float] | None = None) -> Batch:
    """A batch of arrays from whatever the user's batch holds, its lengths checked. Raises KC303, KC305."""
    x, y = convert(raw.x, "x"), convert(raw.y, "y")
    x, y = _dense(x), _dense(y)
    weight = convert(raw.sample_weight, "sample_weight")
    if class_weight is not None:
        if weight is not None:
            raise _two_weights()
        weight = weights_of_classes(y, class_weight)
    weight = _as_float(spread_weights(weight, y))
    check_lengths(x, y, weight)
    return Batch(x, y, weight)


def source_of(
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    *,
    batch_size: int | None = None,
    steps: int | None = None,
    shuffle: bool | str = False,
    class_weight: Mapping[int, float] | None = None,
) -> Arrays | Stream:
    """The source for what was passed to `fit`, `evaluate` or `predict`.

    A list of tuples without y is a list of batches; other structures of arrays are data in memory.

    Raises KCValueError KC303 or KC305 (and KCTypeError) before anything has been used up or changed.
    """
    check_positive("batch_size", batch_size)
    check_positive("steps", steps)
    if x is None:
        raise KCValueError(
            "KC303",
            "x=None",
            "there are data to work on",
            "pass x, an array, a structure of arrays or batches",
        )
    listed = (
        y is None
        and isinstance(x, list)
        and x
        and all(isinstance(b, tuple) and 1 < len(b) <= 3 for b in x)
    )
    if not listed and not isinstance(x, PyDataset) and all_arrays(x, y, sample_weight):
        data = _in_memory(x, y, sample_weight, class_weight)
        if batch_size is None:
            batch_size = math.ceil(data.size / steps) if steps else 32
        return Arrays(data, batch_size, shuffle)
    return _stream(x, y, sample_weight, shuffle, class_weight)


def _in_memory(
    x: Any, y: Any, sample_weight: Any, class_weight: Mapping[int, float] | None
) -> Batch:
    x, y = convert(x, "x"), convert(y, "y")
    weight = convert(sample_weight, "sample_weight")
    check_lengths(x, y, weight)
    if class_weight is not None:
        if weight is not None:
            raise _two_weights()
        weight = weights_of_classes(y, class_weight)
    return Batch(x, y, _as_float(spread_weights(weight, y)))


def _stream(
    x: Any,
    y: Any,
    sample_weight: Any,
    shuffle: bool | str,
    class_weight: Mapping[int, float] | None,
) -> Stream:
    for name, part in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        if isinstance(part, (str, bytes)):
            raise KCTypeError(
                "KC303", f"{name} of type {type(part).__name__}: {arguments.short(part)}", "data are arrays, or batches of them",
                "read the file, or make the array, first",
            )  # fmt: skip
    what = "PyDataset" if isinstance(x, PyDataset) else type(x).__name__
    for name, part in (("y", y), ("sample_weight", sample_weight)):
        if part is not None and not (all_arrays(x) and hasattr(x, "__len__")):
            raise KCValueError(
                "KC305", f"`{name}` together with x, a {what}",
                f"When providing `x` as a {what}, `{name}` should not be passed", f"make `{name}` part of each batch",
            )  # fmt: skip
    if hasattr(x, "__getitem__") and hasattr(x, "num_batches"):  # a PyDataset, or one of Keras
        n = x.num_batches
        if n == 0:
            raise KCValueError(
                "KC303",
                f"a {what} of 0 batches",
                "there is at least one batch",
                "check num_batches",
            )

        def begin() -> Iterator[Any]:
            if n is None:
                return batches_of(x, itertools.count())
            indices = list(range(n))
            if shuffle:
                random.shuffle(indices)
            return batches_of(x, indices)

        return Stream(begin, n, True, class_weight, x, what)
    if isinstance(x, Iterator):
        return Stream(lambda: x, None, False, class_weight, None, what)
    folded = fold_numbers(x)
    if hasattr(x, "__iter__") and not isinstance(x, (str, bytes, dict)) and not _mixed(folded):
        n = len(x) if hasattr(x, "__len__") else None
        return Stream(lambda: iter(x), n, True, class_weight, None, what)
    raise KCTypeError(
        "KC303", f"x of type {type(x).__name__}" + ("" if y is None else f", y of type {type(y).__name__}"),
        "data are arrays, lists or dicts of arrays, a generator, a PyDataset or an iterable of batches",
        "convert the data to NumPy arrays",
    )  # fmt: skip


def _mixed(x: Any) -> bool:
    """A list of inputs in which something is no array: not an iterable of batches."""
    return isinstance(x, (list, tuple)) and any(isinstance(v, (str, bytes)) or v is None for v in x)


def check_positive(name: str, value: Any) -> None:
    """Raise KCValueError KC305 unless `value` is None or an int > 0."""
    if value is not None and not (arguments.is_int(value) and value > 0):
        raise KCValueError(
            "KC305",
            f"{name}={value!r}",
            f"`{name}` is a positive integer",
            f"pass for example {name}=32",
        )


def _as_float(weight: Any) -> Any:
    if weight is None:
        return None
    if isinstance(weight, dict):
        return {k: _as_float(v) for k, v in weight.items()}
    if isinstance(weight, (list, tuple)):
        return type(weight)(_as_float(v) for v in weight)
    return np.ascontiguousarray(weight, "float32") if weight.dtype.kind != "f" else weight


def _dense(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: _dense(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(_dense(v) for v in x)
    return x.dense() if hasattr(x, "dense") else x


def _two_weights() -> KCValueError:
    return KCValueError(
        "KC305", "class_weight and sample_weight together", "Arguments `sample_weight` and `class_weight` "
        "cannot be specified at the same time", "multiply the class weights into sample_weight",
    )  # fmt: skip
