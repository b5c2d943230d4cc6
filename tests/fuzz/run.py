"""Long runs: `python -m tests.fuzz.run models 0 1000` checks the cases of these numbers and says which fail. Instead of
models: graphs; chains, graphs whose nodes follow each other; blocks, models beside their meaning.

With `native` behind the numbers, kcompile runs them as C: about a second a case, so take fewer. With `memory`, graphs as C
under sanitizers, whatever numbers come out. With `triton`, graphs as Triton's kernels in an interpreter that watches memory.

Holds the loop. Refuses to hold cases and comparisons.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports triton

import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from tests.fuzz.draw import numbered


def models(target: str) -> Callable[[int], object]:
    os.environ["KCOMPILE_TARGET"] = target
    import keras
    import torch

    from tests.fuzz.compare import Refused, check
    from tests.fuzz.models import draw

    torch.set_num_threads(1)

    def one(seed: int) -> object:
        m = draw(numbered(seed), keras)
        keras.backend.clear_session()
        try:
            check(keras, m, seed)
        except Refused:
            return None
        except BaseException as e:
            e.add_note(str(m))
            raise
        return m

    return one


def chains(target: str) -> Callable[[int], object]:
    from tests.fuzz.graphs import Chains

    return graphs(target, Chains)


def graphs(target: str, drawer: Any = None) -> Callable[[int], object]:
    from ir.text import dump
    from tests.fuzz import programs
    from tests.fuzz.graphs import Drawer
    from tests.fuzz.steps import draw

    native = target in ("native", "memory")
    checks = {
        "native": programs.check_native,
        "memory": programs.check_memory,
        "triton": programs.check_triton,
    }
    check = checks.get(target, programs.check)

    def one(seed: int) -> object:
        g = draw(
            numbered(seed), "bf16" if native and seed % 9 == 8 else None, native and seed % 2 == 1,
            drawer or Drawer,
        )  # fmt: skip
        try:
            check(g, seed)
        except BaseException as e:
            e.add_note(dump(g))
            raise
        return g

    return one


def blocks(target: str) -> Callable[[int], object]:
    import kcompile.target
    from tests.fuzz.beside import check

    kcompile.target.without_cuda = lambda: ""  # Triton's kernels run in its interpreter
    return lambda seed: check(seed, target)


KINDS: dict[str, Callable[[str], Callable[[int], object]]] = {
    "models": models,
    "graphs": graphs,
    "chains": chains,
    "blocks": blocks,
}


def main(kind: str, first: int, last: int, target: str = "numpy") -> int:
    """The number of cases that fail."""
    warnings.simplefilter("ignore")
    check, failed, start = KINDS[kind](target), 0, time.time()
    for seed in range(first, last):
        try:
            check(seed)
        except Exception as e:
            failed += 1
            where = traceback.extract_tb(e.__traceback__)[-1]
            sys.stdout.write(
                f"FAIL {seed} {type(e).__name__} at {where.filename}:{where.lineno}\n{e}\n"
            )
            sys.stdout.write("".join(f"  {n}\n" for n in getattr(e, "__notes__", ())))
            sys.stdout.flush()
    sys.stdout.write(f"{last - first} cases, {failed} fail, {time.time() - start:.0f} s\n")
    return failed


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]) > 0)
