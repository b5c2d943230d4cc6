"""The devices and backends that models run on, and what may be said of them.

Refuses to choose (`kcompile.run_on`) and to make programs (`kcompile.compile`).
"""

from __future__ import annotations

from typing import Any

from kcompile.errors import KCValueError
from kcompile.nearest import suggest
from runtime.devices import without_cuda

DEVICES = ("auto", "cpu", "cuda")
# the backends of each device
BACKENDS = {"cpu": ("native", "numpy", "reference"), "cuda": ("triton",)}
_MEANT = {"gpu": "cuda", "cuda:0": "cuda", "c": "native"}
EVERY = tuple(b for found in BACKENDS.values() for b in found)


def check(device: Any, backend: Any) -> tuple[str, str | None]:
    """The two as given ("auto" for a device of None).

    Raises KCValueError KC502 for an unknown name, for two that do not go together, and for a GPU that is not there.
    """
    device = "auto" if device is None else device
    known_name("device", device, DEVICES)
    if backend is not None:
        known_name("backend", backend, EVERY)
        home = _device_of(backend)
        if device not in ("auto", home):
            raise KCValueError(
                "KC502", f"device={device!r}, backend={backend!r}", f"the backend {backend!r} runs on device={home!r}",
                f"leave out one of the two, or use a backend of {device!r}: {', '.join(BACKENDS[device])}",
            )  # fmt: skip
    wants = device if backend is None else _device_of(backend)
    if wants == "cuda" and without_cuda():
        given = f"device={device!r}" if backend is None else f"backend={backend!r}"
        raise KCValueError(
            "KC502", f"{given} where no GPU can be used", f"it needs a CUDA device: {without_cuda()}",
            "use device='auto' or 'cpu', or mend that: an NVIDIA driver, a CUDA build of torch, and triton (pip install 'kcompile[gpu]')",
        )  # fmt: skip
    return device, backend


def _device_of(backend: str) -> str:
    return next(d for d, found in BACKENDS.items() if backend in found)


def known_name(name: str, value: Any, known: tuple[str, ...]) -> None:
    """Raise KCValueError KC502, with the name that was meant, unless `value` is one of `known`."""
    if value not in known:
        meant = _MEANT.get(str(value).lower())
        raise KCValueError(
            "KC502",
            f"{name}={value!r}",
            f"{name} is one of {', '.join(known)}",
            f"did you mean {meant!r}?" if meant in known else suggest(value, known),
        )
