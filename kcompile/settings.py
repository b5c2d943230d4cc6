"""Settings of the process, public as `keras.config`: floatx, epsilon, image_data_format, and the switches Keras has.

Holds values only. Refuses to read files or the environment (but for the choice of data format).
"""

from __future__ import annotations

from typing import Any

from kcompile.errors import KCValueError
from kcompile.target import check

VERSION = "0.1.0"
_settings: dict[str, Any] = {
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "interactive_logging": True,
    "traceback_filtering": True,
    "max_epochs": None,
    "max_steps_per_epoch": None,
    "float32_matmul_precision": "ieee",
    "op_determinism": True,
    "target": ("auto", None),
}
_FLOATX = ("float16", "bfloat16", "float32", "float64")
_PRECISIONS = ("ieee", "tf32", "bf16")
_FORMATS = ("channels_last", "channels_first")


def _choose(key: str, value: str, allowed: tuple[str, ...], code: str) -> None:
    if value not in allowed:
        raise KCValueError(
            code, f"{key}={value!r}", f"{key} is one of {', '.join(allowed)}", "pass one of these"
        )
    _settings[key] = value


def floatx() -> str:
    """The default float dtype, "float32" unless set."""
    return str(_settings["floatx"])


def set_floatx(value: str) -> None:
    """Set the default float dtype. Raises KCValueError."""
    _choose("floatx", value, _FLOATX, "KC103")


def epsilon() -> float:
    """The small number used against division by zero, 1e-7 unless set."""
    return float(_settings["epsilon"])


def set_epsilon(value: float) -> None:
    """Set the small number used against division by zero."""
    _settings["epsilon"] = float(value)


def image_data_format() -> str:
    """ "channels_last" (default) or "channels_first"."""
    return str(_settings["image_data_format"])


def set_image_data_format(data_format: str) -> None:
    """Set the default layout of images. Raises KCValueError."""
    _choose("image_data_format", str(data_format).lower(), _FORMATS, "KC209")


def standardize_data_format(data_format: str | None) -> str:
    """`data_format`, or the default for None. Raises KCValueError."""
    if data_format is None:
        return image_data_format()
    name = str(data_format).lower()
    if name not in _FORMATS:
        raise KCValueError(
            "KC209",
            f"data_format={data_format!r}",
            f"data_format is one of {', '.join(_FORMATS)}",
            "pass one of these",
        )
    return name


def backend() -> str:
    """The name of this implementation, where Keras names "tensorflow", "jax" or "torch"."""
    return "kcompile"


def version() -> str:
    """The version of this package."""
    return VERSION


def enable_interactive_logging() -> None:
    """Let progress be shown as a bar."""
    _settings["interactive_logging"] = True


def disable_interactive_logging() -> None:
    """Let progress be logged line by line."""
    _settings["interactive_logging"] = False


def is_interactive_logging_enabled() -> bool:
    """Whether progress is shown as a bar."""
    return bool(_settings["interactive_logging"])


def enable_traceback_filtering() -> None:
    """Show user frames only in tracebacks."""
    _settings["traceback_filtering"] = True


def disable_traceback_filtering() -> None:
    """Show all frames in tracebacks."""
    _settings["traceback_filtering"] = False


def is_traceback_filtering_enabled() -> bool:
    """Whether tracebacks show user frames only."""
    return bool(_settings["traceback_filtering"])


def max_epochs() -> int | None:
    """An upper bound on epochs in any `fit`, or None."""
    value = _settings["max_epochs"]
    return None if value is None else int(value)


def set_max_epochs(value: int | None) -> None:
    """Bound the epochs of any `fit`."""
    _settings["max_epochs"] = value


def max_steps_per_epoch() -> int | None:
    """An upper bound on steps in any epoch, or None."""
    value = _settings["max_steps_per_epoch"]
    return None if value is None else int(value)


def set_max_steps_per_epoch(value: int | None) -> None:
    """Bound the steps of any epoch."""
    _settings["max_steps_per_epoch"] = value


def float32_matmul_precision() -> str:
    """How a GPU multiplies float32 matrices: "ieee" unless set."""
    return str(_settings["float32_matmul_precision"])


def set_float32_matmul_precision(value: str) -> None:
    """Set how a GPU multiplies float32 matrices, in products, convolutions, attention and recurrent layers.

    "ieee": as float32 says. "tf32": factors rounded to 10 bits of mantissa; "bf16": to 7. Sums and all else stay float32.
    Steps are compiled anew where it changed; a CPU always multiplies as "ieee" says. These are the names of PyTorch's
    `fp32_precision`; its `set_float32_matmul_precision` calls them "highest", "high" and "medium". Raises KCValueError KC502.
    """
    _choose("float32_matmul_precision", value, _PRECISIONS, "KC502")


def enable_op_determinism() -> None:
    """Let a GPU add in one order, so that a step gives the same bits every time. This is the default."""
    _settings["op_determinism"] = True


def disable_op_determinism() -> None:
    """Let a GPU add in any order where that spares it work.

    The gradient of an embedding, and what else adds at indices (`ops.scatter`, `ops.segment_sum`), is then made of atomic
    additions, where it else sorts the indices first: the last bits of its sums differ from run to run. Steps are compiled
    anew where it changed; a CPU always adds in one order. `tf.config.experimental.enable_op_determinism` and
    `torch.use_deterministic_algorithms`, which there are off by default, have this meaning.
    """
    _settings["op_determinism"] = False


def is_op_determinism_enabled() -> bool:
    """Whether a GPU adds in one order."""
    return bool(_settings["op_determinism"])


def gpu_choices() -> tuple[str, ...]:
    """What was asked of a GPU's steps other than the default, in words."""
    products = float32_matmul_precision()
    order = () if is_op_determinism_enabled() else ("any order",)
    return (*(() if products == "ieee" else (products,)), *order)


def target() -> tuple[str, str | None]:
    """The device and the backend of models that choose none themselves; ("auto", None) unless set."""
    device, backend = _settings["target"]
    return str(device), backend


def set_target(device: str | None = "auto", backend: str | None = None) -> None:
    """Set the device ("auto", "cpu", "cuda") and backend (None: the device's own, "numpy", "native", "triton", "reference").

    For models that choose none themselves (`Model.run_on`). Raises KCValueError KC502, then with nothing changed.
    """
    _settings["target"] = check(device, backend)
