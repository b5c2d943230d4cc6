"""A program run by `test_random.py`: Triton's own Philox on the CPU, through Triton's interpreter.

Arguments: low word of the key, high word, count of counters, where to write the .npz.
"""

from __future__ import annotations

import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import torch
import triton
import triton.language as tl


@triton.jit
def draw(words, floats, seed, n: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.arange(0, n)
    a, b, c, d = tl.randint4x(seed, at)
    e, f, g, h = tl.rand4x(seed, at)
    tl.store(words + 4 * at, a)
    tl.store(words + 4 * at + 1, b)
    tl.store(words + 4 * at + 2, c)
    tl.store(words + 4 * at + 3, d)
    tl.store(floats + 4 * at, e)
    tl.store(floats + 4 * at + 1, f)
    tl.store(floats + 4 * at + 2, g)
    tl.store(floats + 4 * at + 3, h)


if __name__ == "__main__":
    low, high, n, path = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    words = torch.zeros(4 * n, dtype=torch.int32)
    floats = torch.zeros(4 * n, dtype=torch.float32)
    draw[(1,)](words, floats, (high << 32) | low, n)
    np.savez(path, words=words.numpy().view(np.uint32), floats=floats.numpy())
