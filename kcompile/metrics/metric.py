"""`Metric`: states that `update_state` changes and `result` reads, traced or eager alike.

Refuses to hold any formula.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import kcompile.initializers as initializers
from kcompile.absent import Checked
from kcompile.dtypes import standardize_dtype
from kcompile.errors import KCNotImplementedError, KCRuntimeError
from kcompile.naming import auto_name
from kcompile.variable import Variable, name_scope


class Metric(Checked):
    """Base of all metrics. Subclasses define `update_state(...)` and `result()`.

    Args:
        dtype: of states and results, floatx when None.
        name: shown in histories; made from the class when None.
    """

    def __init__(self, dtype: Any = None, name: str | None = None):
        self._own: list[Variable] = []
        self._inner: list[Metric] = []
        self.name = name or auto_name(type(self))
        self._dtype = standardize_dtype(dtype)

    @property
    def dtype(self) -> str:
        """The dtype of states and results."""
        return self._dtype

    @property
    def variables(self) -> list[Variable]:
        """The states, own ones first."""
        return [*self._own, *(v for m in self._inner for v in m.variables)]

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Variable):
            if "_own" not in self.__dict__:
                self._no_init()
            if not any(v is value for v in self._own):
                self._own.append(value)
        elif isinstance(value, Metric) and "_own" in self.__dict__ and value not in self._inner:
            self._inner.append(value)
        super().__setattr__(name, value)

    def _no_init(self) -> None:
        raise KCRuntimeError(
            "KC203", f"the metric {type(self).__name__} without its base's __init__",
            "a metric's __init__ calls super().__init__() first", "add the call",
        )  # fmt: skip

    def add_variable(
        self,
        shape: Any,
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "sum",
        name: str | None = None,
    ) -> Variable:
        """A new state of the metric."""
        if "_own" not in self.__dict__:
            self._no_init()
        with name_scope(self.name.replace("/", ">")):
            variable = Variable(
                initializers.get(initializer), shape=tuple(shape), dtype=dtype or self._dtype, trainable=False,
                autocast=False, aggregation=aggregation, name=name,
            )  # fmt: skip
        self._own.append(variable)
        return variable

    def add_weight(
        self,
        shape: Any = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        name: str | None = None,
    ) -> Variable:
        """A new state of the metric: `add_variable` under its older name."""
        return self.add_variable(
            shape, "zeros" if initializer is None else initializer, dtype, name=name
        )

    def reset_state(self) -> None:
        """Set every state to zero."""
        for v in self.variables:
            v.assign(np.zeros(v.shape, v.array.dtype))

    def update_state(self, *args: Any, **kwargs: Any) -> Any:
        """Take in a batch. Subclasses define it."""
        raise self._missing("update_state")

    def result(self) -> Any:
        """The value over all batches since the last reset. Subclasses define it."""
        raise self._missing("result")

    def _missing(self, what: str) -> KCNotImplementedError:
        return KCNotImplementedError(
            "KC203",
            f"the metric {type(self).__name__}",
            "a metric defines update_state and result",
            f"define {what}",
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Take in a batch, then give the value over all so far."""
        self.update_state(*args, **kwargs)
        return self.result()

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal metric."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A metric from its config."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
