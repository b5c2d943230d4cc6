"""`keras.dtype_policies`: the public names."""

from kcompile.policy import DTypePolicy as DTypePolicy
from kcompile.policy import DTypePolicy as FloatDTypePolicy
from kcompile.policy import deserialize as deserialize
from kcompile.policy import get as get
from kcompile.policy import serialize as serialize

__all__ = ["DTypePolicy", "FloatDTypePolicy", "deserialize", "get", "serialize"]
