"""Kernels run in Triton's interpreter here, on tensors of the CPU; it must be asked for before triton is imported."""

from __future__ import annotations

import os

os.environ["TRITON_INTERPRET"] = "1"
