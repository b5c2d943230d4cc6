"""The initializers of Keras: each makes the first value of a weight, a NumPy array, from its shape.

Random ones hold a seed: an int, or one drawn from the global generator when the object is made, so an
unseeded object used twice gives the same numbers; a `SeedGenerator` gives new ones at each call.
Refuses to hold variables, and random numbers of the graph (those are `kcompile.random`'s).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import kcompile.config as config
import kcompile.random as random
from kcompile.absent import Checked
from kcompile.arguments import choice, owner, refuse
from kcompile.errors import KCNotImplementedError
from kcompile.lookup import find
from kcompile.serialization import deserialize_keras_object, serialize_keras_object

Array = np.ndarray[Any, Any]
Shape = Sequence[int]
# the standard deviation of a standard normal cut off at two standard deviations
_CUT_AT_TWO = 0.87962566103423978


def _storage(dtype: Any) -> Any:
    """The NumPy dtype that holds `dtype` (bfloat16 is held in float32)."""
    name = config.floatx() if dtype is None else str(getattr(dtype, "name", dtype))
    return np.dtype(
        "float32" if name == "bfloat16" else {"int": "int32", "float": "float32"}.get(name, name)
    )


class Initializer(Checked):
    """A callable (shape, dtype) -> array. Subclasses also give `get_config`."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Any:
        raise KCNotImplementedError(
            "KC203",
            f"the initializer {type(self).__name__}",
            "an initializer defines __call__(shape, dtype)",
            "define it",
        )

    def get_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**config)

    def clone(self) -> Any:
        return type(self).from_config(self.get_config())


class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return np.zeros(shape, _storage(dtype))


class Ones(Initializer):
    """All 1."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return np.ones(shape, _storage(dtype))


class Constant(Initializer):
    """All `value`: a number, or an array that broadcasts to the shape."""

    def __init__(self, value: Any = 0.0):
        self.value = value

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return np.array(np.broadcast_to(np.asarray(self.value), tuple(shape)), _storage(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"value": serialize_keras_object(self.value)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constant:
        return cls(deserialize_keras_object(config["value"]))


class Identity(Initializer):
    """`gain` times the identity matrix. Raises ValueError unless the shape has two axes."""

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        if len(shape) != 2:
            refuse(
                f"{owner(self)} was asked for a weight of shape {tuple(shape)}",
                "An identity matrix has two axes",
                "Use it for matrices, or choose another initializer",
            )
        return np.asarray(self.gain * np.eye(shape[0], shape[1]), _storage(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


class STFT(Initializer):
    """The real or imaginary part of a windowed Fourier matrix, for shape (frame, 1, fft/2 + 1)."""

    def __init__(
        self,
        side: str = "real",
        window: Any = "hann",
        scaling: Any = "density",
        periodic: bool = False,
    ):
        self.side = choice(self, "side", side, ("real", "imag"))
        self.scaling = (
            None if scaling is None else choice(self, "scaling", scaling, ("density", "spectrum"))
        )
        self.window, self.periodic = window, periodic

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        frame, _, bins = shape
        time, freq = (
            np.arange(frame)[:, None, None],
            np.arange(bins)[None, None, :] / max((bins - 1) * 2, 1),
        )
        angle = -2.0 * np.pi * time * freq
        kernel = np.cos(angle) if self.side == "real" else np.sin(angle)
        if self.window is not None:
            window = self._window(frame).reshape(frame, 1, 1)
            total = {
                "density": np.sqrt(np.sum(window**2)),
                "spectrum": np.sum(np.abs(window)),
                None: 1.0,
            }
            kernel = kernel * window / total[self.scaling]
        return np.broadcast_to(kernel, tuple(shape)).astype(_storage(dtype))

    def _window(self, frame: int) -> Array:
        if not isinstance(self.window, str):
            given = np.asarray(self.window)
            if given.shape != (frame,):
                refuse(
                    f"{owner(self)} has a window of shape {given.shape} for frames of length {frame}",
                    "A window has one weight per sample of the frame",
                    f"Pass a window of shape {(frame,)}, or its name",
                )
            return given
        if self.window in ("hann", "hamming", "ones", "boxcar"):
            steps = frame if self.periodic else max(frame - 1, 1)
            a = {"hann": 0.5, "hamming": 0.54}.get(self.window, 1.0)
            return a - (1 - a) * np.cos(2 * np.pi * np.arange(frame) / steps)
        import scipy.signal

        # scipy's third argument asks for the periodic form by the name fftbins
        return np.asarray(scipy.signal.get_window(self.window, frame, self.periodic))

    def get_config(self) -> dict[str, Any]:
        return {
            "side": self.side,
            "window": self.window,
            "periodic": self.periodic,
            "scaling": self.scaling,
        }


class RandomInitializer(Initializer):
    """An initializer with a seed: an int, None (drawn once, here), or a `SeedGenerator`."""

    def __init__(self, seed: Any = None):
        self._given_seed = seed
        if seed is None:
            seed = random.make_default_seed()
        elif isinstance(seed, dict):
            seed = deserialize_keras_object(seed)
        elif isinstance(seed, bool) or not isinstance(
            seed, (int, np.integer, random.SeedGenerator)
        ):
            refuse(
                f"{owner(self)} was given seed={seed!r}",
                "A seed is an integer, None or a SeedGenerator",
                "Pass for example seed=1",
            )
        self.seed = seed

    def generator(self) -> np.random.Generator:
        """A generator that starts at the seed (or at a seed generator's next state)."""
        if isinstance(self.seed, random.SeedGenerator):
            return np.random.default_rng([int(v) for v in np.ravel(np.asarray(self.seed.next()))])
        return np.random.default_rng(int(self.seed))

    def get_config(self) -> dict[str, Any]:
        return {"seed": serialize_keras_object(self._given_seed)}


def _uniform(rng: np.random.Generator, shape: Shape, low: float, high: float, dtype: Any) -> Array:
    return (rng.random(tuple(shape), np.float32) * (high - low) + low).astype(_storage(dtype))


def _normal(
    rng: np.random.Generator, shape: Shape, mean: float, stddev: float, dtype: Any
) -> Array:
    return (rng.standard_normal(tuple(shape), np.float32) * stddev + mean).astype(_storage(dtype))


def _truncated(
    rng: np.random.Generator, shape: Shape, mean: float, stddev: float, dtype: Any
) -> Array:
    """Normal, with what lies beyond two standard deviations drawn again."""
    z = rng.standard_normal(tuple(shape), np.float32)
    out = np.abs(z) > 2
    while out.any():
        z[out] = rng.standard_normal(int(out.sum()), np.float32)
        out = np.abs(z) > 2
    return (z * stddev + mean).astype(_storage(dtype))


class RandomUniform(RandomInitializer):
    """Uniform in [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Any = None):
        self.minval, self.maxval = minval, maxval
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        if _storage(dtype).kind in "iu":
            draw = self.generator().integers(int(self.minval), int(self.maxval), tuple(shape))
            return np.asarray(draw, _storage(dtype))
        return _uniform(self.generator(), shape, self.minval, self.maxval, dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"minval": self.minval, "maxval": self.maxval}


class RandomNormal(RandomInitializer):
    """Normal with `mean` and `stddev`."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Any = None):
        self.mean, self.stddev = mean, stddev
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return _normal(self.generator(), shape, self.mean, self.stddev, dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomNormal):
    """Normal with `mean` and `stddev`, cut off two standard deviations from the mean."""

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        return _truncated(self.generator(), shape, self.mean, self.stddev, dtype)


class VarianceScaling(RandomInitializer):
    """Variance `scale / n`, n the fan in, the fan out or their mean (`mode`)."""

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Any = None,
        input_axes: Any = None,
        output_axes: Any = None,
    ):
        if scale <= 0:
            refuse(
                f"{owner(self)} was given scale={scale!r}",
                "`scale` is positive",
                "Pass for example scale=2.0",
            )
        self.scale = scale
        self.mode = choice(self, "mode", mode, ("fan_in", "fan_out", "fan_avg"))
        kinds = ("truncated_normal", "untruncated_normal", "uniform")
        distribution = "truncated_normal" if str(distribution).lower() == "normal" else distribution
        self.distribution = choice(self, "distribution", distribution, kinds)
        self.input_axes, self.output_axes = input_axes, output_axes
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, n))
        rng = self.generator()
        if self.distribution == "uniform":
            limit = math.sqrt(3.0) * stddev
            return _uniform(rng, shape, -limit, limit, dtype)
        if self.distribution == "untruncated_normal":
            return _normal(rng, shape, 0.0, stddev, dtype)
        return _truncated(rng, shape, 0.0, stddev / _CUT_AT_TWO, dtype)

    def get_config(self) -> dict[str, Any]:
        axes = {"input_axes": self.input_axes, "output_axes": self.output_axes}
        if type(self) is not VarianceScaling and type(self).__name__ in _SCALED:
            return super().get_config() | axes
        law = {"scale": self.scale, "mode": self.mode, "distribution": self.distribution}
        return super().get_config() | law | axes


def _scaled(
    name: str, scale: float, mode: str, distribution: str, doc: str
) -> type[VarianceScaling]:
    """A variance scaling with its law fixed."""

    def __init__(
        self: Any, seed: Any = None, input_axes: Any = None, output_axes: Any = None
    ) -> None:
        VarianceScaling.__init__(self, scale, mode, distribution, seed, input_axes, output_axes)

    return type(
        name, (VarianceScaling,), {"__init__": __init__, "__doc__": doc, "__module__": __name__}
    )


_SCALED = ("GlorotUniform", "GlorotNormal", "LecunUniform", "LecunNormal", "HeUniform", "HeNormal")
GlorotUniform = _scaled(
    "GlorotUniform", 1.0, "fan_avg", "uniform", "Uniform, variance 2 / (fan in + fan out)."
)
GlorotNormal = _scaled(
    "GlorotNormal", 1.0, "fan_avg", "normal", "Normal, variance 2 / (fan in + fan out)."
)
LecunUniform = _scaled("LecunUniform", 1.0, "fan_in", "uniform", "Uniform, variance 1 / fan in.")
LecunNormal = _scaled("LecunNormal", 1.0, "fan_in", "normal", "Normal, variance 1 / fan in.")
HeUniform = _scaled("HeUniform", 2.0, "fan_in", "uniform", "Uniform, variance 2 / fan in.")
HeNormal = _scaled("HeNormal", 2.0, "fan_in", "normal", "Normal, variance 2 / fan in.")


class Orthogonal(RandomInitializer):
    """`gain` times a matrix (all axes but the last merged) with orthonormal rows or columns."""

    def __init__(self, gain: float = 1.0, seed: Any = None):
        self.gain = gain
        super().__init__(seed)

    def __call__(self, shape: Shape, dtype: Any = None) -> Array:
        if len(shape) < 2:
            refuse(
                f"{owner(self)} was asked for a weight of shape {tuple(shape)}",
                "An orthogonal matrix has at least two axes",
                "Choose another initializer for vectors",
            )
        rows, cols = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(self.generator().standard_normal((max(rows, cols), min(rows, cols))))
        q *= np.sign(np.diag(r))
        return (
            (self.gain * (q.T if rows < cols else q)).reshape(tuple(shape)).astype(_storage(dtype))
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"gain": self.gain}


def compute_fans(shape: Shape, input_axes: Any = None, output_axes: Any = None) -> tuple[int, int]:
    """(fan in, fan out) of a weight; for kernels of more than two axes the leading ones are taps."""
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    taps = math.prod(shape[:-2])
    return shape[-2] * taps, shape[-1] * taps


zeros, ones, constant, identity, stft = Zeros, Ones, Constant, Identity, STFT
IdentityInitializer, STFTInitializer, OrthogonalInitializer = Identity, STFT, Orthogonal
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling, orthogonal = VarianceScaling, Orthogonal
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
lecun_uniform, lecun_normal, he_uniform, he_normal = LecunUniform, LecunNormal, HeUniform, HeNormal

BY_NAME: dict[str, type[Initializer]] = {
    n: c for n, c in globals().items() if isinstance(c, type) and issubclass(c, Initializer)
} | {"zero": Zeros, "one": Ones, "eye": Identity, "normal": RandomNormal, "uniform": RandomUniform}
del BY_NAME["Initializer"], BY_NAME["RandomInitializer"]


def get(identifier: Any) -> Any:
    """An initializer from a name, a config, a class, a number, an array or a callable. Raises ValueError."""
    numeric = isinstance(identifier, (int, float, np.ndarray, np.generic))
    if numeric and not isinstance(identifier, bool):
        return Constant(identifier)
    return find(identifier, "initializer", BY_NAME, "(shape, dtype)", "'glorot_uniform'")


def serialize(initializer: Any) -> Any:
    """The config from which `deserialize` makes it again."""
    return serialize_keras_object(initializer)


def deserialize(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """The inverse of `serialize`."""
    return deserialize_keras_object(config, custom_objects=custom_objects, module_objects=BY_NAME)
