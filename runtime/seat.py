"""`Seat`: the place of a state in a device's memory, and when its values move.

What the host wrote goes to the device before the next step (`take`); what steps changed comes back when the host looks
(`State.array`). Refuses to know programs, and who looks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from runtime.device import TORCH, Device
from runtime.memory import Array
from runtime.store import State


class Seat:
    """The tensor of a state on a device: the one that is there already, or a new one. Values move in `take`.

    Raises torch.OutOfMemoryError.
    """

    def __init__(self, state: State, device: Device, dtype: str):
        self.state = state
        if not is_seated(state, device, dtype):
            _ = state.array  # comes home from where it was
            state.device = (device, dtype, device.empty(state.host.shape, dtype))
        self._held = state.device
        self.tensor = state.device[2]

    def take(self) -> None:
        """Bring the values here, unless they are."""
        state = self.state
        if state.away is None or state.device is not self._held:
            import torch

            self.tensor.copy_(torch.from_numpy(state.array))
            state.device, state.away = self._held, self._fetch

    def _fetch(self) -> None:
        np.copyto(self.state.host, host(self.tensor))


def is_seated(state: State, device: Device, dtype: str) -> bool:
    """Whether a state has memory of this dtype on this device."""
    return state.device is not None and state.device[0] is device and bool(state.device[1] == dtype)


def host(t: Any) -> Array:
    """A tensor as an array, bf16 as f32."""
    t = t.detach().cpu()
    if str(t.dtype) == f"torch.{TORCH['bf16']}":
        t = t.float()
    out: Array = t.numpy()
    return out
