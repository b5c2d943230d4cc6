"""What users pass as data, turned into arrays a step can take: kinds of container, dtypes, weights.

Floats become floatx, 64-bit integers 32-bit ones where they fit. Torch tensors, pandas objects and SciPy
matrices are known by their methods, so none of them is imported. Refuses to know batches or epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import kcompile.config as config
from kcompile.errors import KCTypeError, KCValueError
from kcompile.trace import leaves, map_structure

_CONTAINERS = (list, tuple, dict)


class SparseRows:
    """A SciPy sparse matrix of which batches of rows are made dense one at a time."""

    def __init__(self, matrix: Any):
        self.rows = matrix.tocsr()
        self.shape: tuple[int, ...] = tuple(self.rows.shape)
        self.dtype = np.dtype(_dtype(np.dtype(self.rows.dtype), "x"))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> SparseRows:
        return SparseRows(self.rows[index])

    def dense(self) -> np.ndarray[Any, Any]:
        """All rows as an array."""
        return np.asarray(self.rows.toarray()).astype(self.dtype, copy=False)


def is_array(x: Any) -> bool:
    """Whether `x` is one array (of any library), or None."""
    return (
        x is None
        or isinstance(x, (np.ndarray, SparseRows))
        or is_sparse(x)
        or hasattr(x, "__array__")
    )


def is_sparse(x: Any) -> bool:
    """Whether `x` is a SciPy sparse matrix or array."""
    return type(x).__module__.startswith("scipy.sparse") and hasattr(x, "tocsr")


def all_arrays(*parts: Any) -> bool:
    """Whether every leaf of every part is an array. Lists of plain numbers count as arrays."""
    return all(is_array(leaf) for part in parts for leaf in leaves(fold_numbers(part)))


def fold_numbers(x: Any) -> Any:
    """`x` with nested lists of plain numbers turned into arrays; everything else stays."""
    if isinstance(x, dict):
        return {k: fold_numbers(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)) and x:
        if all(isinstance(v, (bool, int, float, np.number)) for v in x):
            return np.asarray(x)
        if all(isinstance(v, (list, tuple)) for v in x):
            if _is_numbers(x):
                try:
                    return np.asarray(x)
                except ValueError as e:
                    raise KCValueError(
                        "KC303", f"a list of {len(x)} lists of different lengths", "an array is regular",
                        "pad the lists to one length (keras.utils.pad_sequences)",
                    ) from e  # fmt: skip
        return type(x)(fold_numbers(v) for v in x)
    return x


def _is_numbers(x: Any) -> bool:
    if isinstance(x, (list, tuple)):
        return all(_is_numbers(v) for v in x)
    return isinstance(x, (bool, int, float, np.number))


def convert(x: Any, role: str) -> Any:
    """A structure of anything array-like as a structure of arrays; `role` ("x", "y", ...) is for errors.

    Raises KCTypeError KC303 for what holds no numbers.
    """
    return map_structure(lambda leaf: to_array(leaf, role), fold_numbers(x))


def to_array(x: Any, role: str) -> Any:
    """One array-like as a contiguous array of a dtype that steps take (or `SparseRows`)."""
    if isinstance(x, SparseRows):
        return x
    if is_sparse(x):
        return SparseRows(x)
    if hasattr(x, "detach"):  # a torch tensor
        x = x.detach().cpu()
        x = x.float().numpy() if "bfloat16" in str(x.dtype) else x.numpy()
    elif hasattr(x, "to_numpy") and hasattr(x, "iloc"):  # pandas: a Series is a column
        x = x.to_numpy() if hasattr(x, "columns") else x.to_numpy()[:, None]
    array = np.asarray(x)
    if array.ndim == 0:
        raise KCValueError(
            "KC303", f"{role} is the single value {x!r}", "data have a first axis that counts samples",
            f"pass an array, for example np.array([{x!r}])",
        )  # fmt: skip
    if array.dtype == object:
        try:
            array = array.astype(config.floatx())
        except (TypeError, ValueError) as e:
            raise _no_numbers(role, array) from e
    dtype = _dtype(array.dtype, role)
    if dtype in ("int32", "uint32") and array.dtype.itemsize == 8 and array.size:
        info = np.iinfo(dtype)
        if array.max() > info.max or array.min() < info.min:
            dtype = array.dtype.name
    return np.ascontiguousarray(array, dtype=dtype)


def _dtype(dtype: np.dtype[Any], role: str) -> str:
    if dtype.kind == "f" or dtype.name == "bfloat16":
        floatx = config.floatx()
        return "float32" if floatx == "bfloat16" else floatx
    if dtype.kind in "iu":
        return {"int64": "int32", "uint64": "uint32"}.get(dtype.name, dtype.name)
    if dtype.kind == "b":
        return "bool"
    raise _no_numbers(role, np.empty(0, dtype))


def _no_numbers(role: str, array: np.ndarray[Any, Any]) -> KCTypeError:
    shown = f" such as {array.flat[0]!r}" if array.size else ""
    return KCTypeError(
        "KC303", f"{role} of dtype {array.dtype}{shown}", "data are numbers or bools",
        "convert them first: categories to integers, texts to sequences of word indices",
    )  # fmt: skip


def weights_of_classes(y: Any, class_weight: Mapping[int, float]) -> np.ndarray[Any, Any]:
    """One weight for each sample, by its class: labels are ints [N] or [N, 1], or one-hot [N, C].

    A class that `class_weight` lacks weighs 1. Raises KCValueError KC305 for several targets.
    """
    numbers = (int, float, np.number)
    if not isinstance(class_weight, Mapping) or not all(
        isinstance(v, numbers) for v in class_weight.values()
    ):
        raise KCValueError(
            "KC305", f"class_weight={class_weight!r}", "it is a dict from class to weight",
            "pass for example {0: 1.0, 1: 2.5}",
        )  # fmt: skip
    if isinstance(y, _CONTAINERS) or y is None:
        raise KCValueError(
            "KC305", f"class_weight with targets {type(y).__name__}", "class_weight needs a model with a single output",
            "pass sample_weight with one array for each output",
        )  # fmt: skip
    labels = np.asarray(y)
    if labels.ndim > 1:
        labels = labels.argmax(-1) if labels.shape[-1] != 1 else labels[..., 0]
    if labels.ndim != 1:
        raise KCValueError(
            "KC305", f"class_weight with targets of shape {np.shape(y)}", "a sample has one class",
            "pass sample_weight instead",
        )  # fmt: skip
    classes, position = np.unique(np.round(labels).astype("int32"), return_inverse=True)
    table = np.array([class_weight.get(int(c), 1.0) for c in classes], config.floatx())
    return np.ascontiguousarray(table[position])


def spread_weights(sample_weight: Any, y: Any) -> Any:
    """`sample_weight` for each target: a single array serves every target of several.

    Raises KCValueError KC303 when the structures do not match.
    """
    if sample_weight is None or not isinstance(y, _CONTAINERS):
        return sample_weight
    if isinstance(sample_weight, _CONTAINERS):
        if _shape_of(sample_weight) != _shape_of(y):
            raise KCValueError(
                "KC303", f"sample_weight with {len(sample_weight)} entries for {len(y)} targets",
                "there is one array of sample weights for each target, in the same structure as y",
                "pass one array for all targets, or the structure of y",
            )  # fmt: skip
        return sample_weight
    if not (sample_weight.ndim == 1 or (sample_weight.ndim == 2 and sample_weight.shape[1] == 1)):
        raise KCValueError(
            "KC303", f"one sample_weight of shape {sample_weight.shape} for several targets",
            "a single array of sample weights has one number for each sample", "pass one array for each target",
        )  # fmt: skip
    return map_structure(lambda _: sample_weight, y)


def _shape_of(x: Any) -> Any:
    if isinstance(x, dict):
        return {k: _shape_of(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_shape_of(v) for v in x]
    return None


def check_lengths(x: Any, y: Any, sample_weight: Any) -> int:
    """The number of samples. Raises KCValueError KC303 when arrays differ in length or there are none."""
    sizes = {
        name: [int(a.shape[0]) for a in leaves(part)]
        for name, part in (("x", x), ("y", y), ("sample_weight", sample_weight))
    }
    lengths = {n for found in sizes.values() for n in found}
    shown = ", ".join(f"{k}: {v if len(v) > 1 else v[0]}" for k, v in sizes.items() if v)
    if not lengths:
        raise KCValueError("KC303", "no data", "x is an array or a structure of arrays", "pass x")
    if len(lengths) > 1:
        raise KCValueError(
            "KC303", f"arrays with different numbers of samples ({shown}): Data cardinality is ambiguous",
            "all arrays contain the same number of samples", "cut them to one length along the first axis",
        )  # fmt: skip
    n = lengths.pop()
    if n == 0:
        raise KCValueError(
            "KC303",
            f"empty data ({shown})",
            "there is at least one sample",
            "check how the data were loaded",
        )
    return n
