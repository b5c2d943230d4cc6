"""Data of every kind become batches; what does not fit is refused before anything happens."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import kcompile as keras
from kcompile.errors import KCTypeError, KCValueError
from kcompile.fit.arrays import weights_of_classes
from kcompile.fit.batch import Batch
from kcompile.fit.py_dataset import PyDataset
from kcompile.fit.sources import Arrays, Stream, source_of
from kcompile.fit.split import split

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10)


def epoch_sizes(source: Any, steps: int | None = None) -> list[int]:
    return [b.size for b in source.epoch(steps)]


def test_arrays_get_32_bit_dtypes_and_a_partial_last_batch() -> None:
    s = source_of(X, Y, batch_size=4)
    assert isinstance(s, Arrays)
    assert [a.dtype.name for a in s.data.leaves()] == ["float32", "int32"]
    assert (s.num_batches, s.samples, s.batch_size) == (3, 10, 4)
    assert s.epoch(None) == (None, 0, 3)


def test_integers_beyond_32_bits_stay() -> None:
    s = source_of(np.array([[2**40]]))
    assert s.data.x.dtype == np.int64


def test_batch_size_from_steps_and_default() -> None:
    assert source_of(X, steps=3).batch_size == 4
    assert source_of(X).batch_size == 32


def test_steps_continue_and_begin_anew_as_in_keras() -> None:
    s = source_of(X, batch_size=2)
    assert s.epoch(3)[1:] == (0, 3)
    with pytest.warns(UserWarning, match="ran out of data"):
        assert s.epoch(3)[1:] == (3, 5)
    assert s.epoch(3)[1:] == (0, 3)


def test_shuffle_is_a_permutation_and_batch_shuffle_stays_inside_batches() -> None:
    order = source_of(X, batch_size=4, shuffle=True).epoch(None)[0]
    assert sorted(order) == list(range(10))
    inside = source_of(X, batch_size=4, shuffle="batch").epoch(None)[0]
    assert sorted(inside[:4]) == [0, 1, 2, 3] and sorted(inside[8:]) == [8, 9]


@pytest.mark.parametrize("x", [X.tolist(), [list(map(int, r)) for r in X]])
def test_lists_of_numbers_are_arrays(x: Any) -> None:
    s = source_of(x, [0, 1] * 5)
    assert s.data.x.shape == (10, 2) and s.data.y.shape == (10,)


def test_structures_and_one_weight_for_all_targets() -> None:
    s = source_of({"a": X, "b": [X, X]}, [Y, Y], sample_weight=np.ones(10))
    assert len(s.data.leaves()) == 7
    assert s.data.sample_weight[0].dtype == np.float32


def test_torch_tensors_and_loaders() -> None:
    torch = pytest.importorskip("torch")
    s = source_of(torch.tensor(X), torch.tensor(Y))
    assert s.data.x.dtype == np.float32
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    s = source_of(loader)
    assert s.num_batches == 3
    assert epoch_sizes(s) == epoch_sizes(s) == [4, 4, 2]


def test_sparse_matrices_stay_sparse_until_a_batch() -> None:
    class csr:  # the methods of a SciPy matrix that are used
        __module__ = "scipy.sparse.fake"
        shape, dtype = (10, 2), np.dtype("float64")

        def __init__(self, rows: Any = None):
            self.data = X if rows is None else rows
            self.shape = self.data.shape

        def tocsr(self) -> csr:
            return self

        def __getitem__(self, index: Any) -> csr:
            return csr(self.data[index])

        def toarray(self) -> Any:
            return self.data

    s = source_of(csr(), Y)
    part = s.data.x[np.array([3, 1])]
    np.testing.assert_array_equal(part.dense(), X[[3, 1]].astype("float32"))


def test_finite_generator_ends_once_without_replay() -> None:
    s = source_of((X[i : i + 2], Y[i : i + 2]) for i in range(0, 10, 2))
    s.first()
    seen = [b.x[0, 0] for b in s.epoch(2)] + [b.x[0, 0] for b in s.epoch(2)]
    assert seen == [0, 4, 8, 12]
    with pytest.warns(UserWarning, match="ran out of data"):
        assert [b.x[0, 0] for b in s.epoch(2)] == [16]
    assert s.at_end


def test_iterables_of_batches_begin_anew() -> None:
    batches = [(X[:5], Y[:5]), (X[5:], Y[5:])]
    s = source_of(batches)
    assert isinstance(s, Stream)
    assert epoch_sizes(s) == epoch_sizes(s) == [5, 5]
    assert epoch_sizes(s, 1) == [5]
    assert next(iter(s.epoch(1))).x[0, 0] == 10  # steps continue


class Squares(PyDataset):
    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.events: list[str] = []

    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> Any:
        return np.full((2, 1), i), np.full((2,), i)

    def on_epoch_begin(self) -> None:
        self.events.append("begin")

    def on_epoch_end(self) -> None:
        self.events.append("end")


@pytest.mark.parametrize("workers", [1, 3])
def test_pydataset_in_order_with_and_without_workers(workers: int) -> None:
    data = Squares(workers=workers)
    s = source_of(data)
    s.first()
    for _ in range(2):
        assert [int(b.x[0, 0]) for b in s.epoch(None)] == [0, 1, 2]
    assert data.events == ["begin", "end"] * 2


def test_pydataset_shuffles_batches() -> None:
    s = source_of(Squares(), shuffle=True)
    assert sorted(int(b.x[0, 0]) for b in s.epoch(None)) == [0, 1, 2]


def test_class_weight() -> None:
    table = {0: 2.0, 2: 5.0}
    want = [2.0, 1.0, 5.0]
    for y in (np.array([0, 1, 2]), np.array([[0], [1], [2]]), np.eye(3), np.array([0.0, 1.0, 2.0])):
        np.testing.assert_array_equal(weights_of_classes(y, table), np.array(want, "float32"))


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"x": X, "y": Y[:5]}, "different numbers of samples"),
        ({"x": X[:0], "y": Y[:0]}, "empty data"),
        ({"x": X, "batch_size": 0}, "batch_size=0"),
        ({"x": X, "batch_size": -1}, "batch_size=-1"),
        ({"x": X, "batch_size": 2.5}, "batch_size=2.5"),
        ({"x": None}, "x=None"),
        ({"x": X, "y": Y, "class_weight": {0: 1.0}, "sample_weight": np.ones(10)}, "same time"),
        ({"x": X, "y": [Y, Y], "class_weight": {0: 1.0}}, "single output"),
        ({"x": X, "y": [Y, Y], "sample_weight": [np.ones(10)]}, "sample_weight"),
        ({"x": (b for b in [(X, Y)]), "y": Y}, "should not be passed"),
        ({"x": [[1, 2], [3]], "y": [0, 1]}, "different lengths"),
        ({"x": np.float32(3)}, "single value"),
    ],
)
def test_refused(kwargs: dict[str, Any], match: str) -> None:
    with pytest.raises(KCValueError, match=match):
        source_of(**kwargs)


@pytest.mark.parametrize("x", [np.array(["a", "b"]), np.array([1j]), "text", np.array([object()])])
def test_what_holds_no_numbers_is_refused(x: Any) -> None:
    with pytest.raises(KCTypeError):
        source_of(x)


def test_object_arrays_of_numbers_are_taken() -> None:
    assert source_of(np.array([[1.5], [2]], object)).data.x.dtype == np.float32


def test_an_empty_generator_is_refused() -> None:
    with pytest.raises(KCValueError, match="empty generator"):
        source_of(iter(())).first() if False else source_of(b for b in ()).first()


def test_split_takes_the_tail() -> None:
    train, val = split(X, Y, None, 0.2)
    assert isinstance(train, Batch)
    np.testing.assert_array_equal(val.y, [8, 9])
    assert len(train.x) == 8
    for bad in (1.0, -0.1, 0.999):
        with pytest.raises(KCValueError):
            split(X, Y, None, bad)
    with pytest.raises(KCValueError, match="only supported for arrays"):
        split((b for b in [X]), None, None, 0.2)


def test_nothing_warns_on_a_plain_epoch() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        s = source_of([(X, Y)])
        epoch_sizes(s)
        epoch_sizes(s)


@pytest.mark.parametrize("steps", [None, 3, 5])
def test_orders_drawn_ahead_are_those_drawn_in_time(steps: int | None) -> None:
    found = []
    for ahead in (False, True):
        np.random.seed(3)
        s = source_of(X, batch_size=2, shuffle=True)
        orders = []
        for epoch in range(4):
            if steps == 3 and epoch % 2:
                with pytest.warns(UserWarning, match="ran out of data"):
                    orders.append(s.epoch(steps))
            else:
                orders.append(s.epoch(steps))
            if ahead and epoch < 3:
                s.draw(steps)
        found.append(([(list(order), low, high) for order, low, high in orders], np.random.rand()))  # type: ignore[arg-type]
    assert found[0] == found[1]


def test_a_fit_draws_no_order_that_it_does_not_need() -> None:
    drawn = []
    for parts in ((3,), (1, 2), (2, 1)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        for epochs in parts:
            model.fit(X, X[:, :1], batch_size=2, epochs=epochs, verbose=0)
        drawn.append((np.random.rand(), *(w.tobytes() for w in model.get_weights())))
    assert drawn[0] == drawn[1] == drawn[2]
