"""Kernels as machine code: what is compiled ahead of time is what runs, from the disk, without an import of triton; on a stand-in for the driver."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import codegen.triton.writer as writer
import ir.ops as ops
from codegen.pipeline import generate
from codegen.program import Program
from ir.graph import Value, graph_of
from ir.types import Type
from tests.triton.steps import mlp, train_graph
from tests.triton.test_scan import forward, simple

pytest.importorskip("triton")
pytest.importorskip("torch")

import torch

import runtime.devices as devices
from runtime.device import Interpreted, Ready
from runtime.driver import PLAIN_SHARED, Driver, DriverError
from runtime.machine_code import machine_code
from runtime.triton_build import binaries
from runtime.triton_program import TritonProgram
from runtime.triton_report import Binary, Refused, Usage, _check
from runtime.triton_source import identities, parameters
from runtime.tune import rewritten, widened
from tests.triton.standin import Machine, library, trained

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own."""
    monkeypatch.setenv("KCOMPILE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def binary() -> Binary:
    """A kernel of several types of parameters."""
    types = [("x", "f32"), ("m", "bool"), ("n", "u32"), ("h", "f16")]
    x, m, n, h = (Value(Type(t, (16,)), name=name) for name, t in types)
    out = ops.select(m, x, ops.add(ops.cast(n, dtype="f32"), ops.cast(h, dtype="f32")))
    p = generate(graph_of("case", [x, m, n, h], [out, ops.gt(out, x)]), "triton")
    made = binaries(p, "sm_90")["k0"]
    assert isinstance(made, Binary)
    return made


def test_a_fit_through_the_driver_is_the_interpreters_and_a_warm_start_imports_no_triton(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each launch as a driver gets it: the stream, the threads, the addresses, and two of no scratch memory."""
    monkeypatch.setenv("KCOMPILE_TUNE", "0")
    monkeypatch.setattr("kcompile.target.without_cuda", lambda: "")
    expected = trained().get_weights()
    machine = Machine()
    monkeypatch.setattr("runtime.cuda.here", lambda: machine)
    found = trained().get_weights()
    for e in machine.broken:
        raise e
    names = [name for name, _ in machine.launches]
    assert names.count("gather") == 6 and names.count("k0") == 10
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    kept = {p.name: p.stat().st_ino for p in shelf.glob("*.gpu")}
    assert len(kept) == len(set(names))
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.triton.standin"], cwd=ROOT, env=env, capture_output=True, text=True
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr[-2000:]
    assert kept == {p.name: p.stat().st_ino for p in shelf.glob("*.gpu")}


@pytest.mark.usefixtures("shelf")
def test_rows_of_a_loop_that_are_not_aligned_are_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "STREAMED", -1)
    graph, data = forward(*simple(1, 3, 2, 3))  # rows of 12 bytes
    p = generate(graph, "triton")
    known = [known for k in p.kernels for _, known in parameters(p, k)]
    assert True in known and False in known
    machine = Machine()
    found = TritonProgram(p, {}, machine).run(*data)
    for e in machine.broken:
        raise e
    for a, b in zip(found, TritonProgram(p, {}, Interpreted()).run(*data), strict=True):
        np.testing.assert_array_equal(a, b)
    (k, kernel) = next(
        (k, machine.kernels(p)[k.name]) for k in p.kernels if not all(t for _, t in parameters(p, k))
    )  # fmt: skip
    assert isinstance(kernel, Ready)
    odd = torch.zeros(9)[1:]
    for i, (_, aligned) in enumerate(parameters(p, k)):
        args = [odd if n == i else torch.zeros(8) for n in range(len(k.schedule["args"]))]
        if aligned:
            with pytest.raises(ValueError, match=f"parameter {i} of k.* no multiple of 16"):
                kernel.bind(1, args)
        else:
            kernel.bind(1, args)
    before = len(machine.launches)
    kernel.bind(0, [torch.zeros(8)] * len(k.schedule["args"]))()  # a grid of nothing is no launch
    assert len(machine.launches) == before


def test_a_kernel_is_known_by_what_it_computes_not_by_its_name() -> None:
    p = generate(train_graph(mlp(6, 20), 5)[0], "triton")
    wide, ways = widened(p)
    every = identities(wide, "sm_90")
    assert len(set(every.values())) == len(every)
    assert identities(p, "sm_90").items() <= every.items()
    other = rewritten(p, {"k1": ways["k1"][1]})
    assert identities(other, "sm_90")["k1"] == every["k1_1"]
    assert set(identities(p, "sm_80").values()).isdisjoint(every.values())
    k = p.kernels[0]
    first = identities(p, "sm_90")["k0"]
    more = replace(k, schedule={**k.schedule, "warps": 2 * k.schedule["warps"]})
    half = tuple(replace(b, dtype="f16") if b.dtype == "f32" else b for b in p.buffers)
    row = tuple(replace(b, role="step", shape=(3,)) for b in p.buffers)
    for changed in (
        replace(p, kernels=(more, *p.kernels[1:])), replace(p, buffers=half), replace(p, buffers=row),
        replace(p, source=p.source.replace("import triton\n", "import triton  # another\n")),
    ):  # fmt: skip
        assert identities(changed, "sm_90")["k0"] != first


def test_kernels_are_kept_whole_and_by_their_owner_alone(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    p = generate(train_graph(mlp(6, 20), 5)[0], "triton")
    asked: list[list[str]] = []

    def made(program: Program, target: str, names: list[str]) -> dict[str, Binary | Refused]:
        asked.append(names)
        use = lambda n: Usage(n, 32, 0, 1000, 4, "mma")
        code = lambda n: Binary(use(n), n, (0, 2), n.encode() * 9)
        return {n: Refused("no") if n == "k2" else code(n) for n in names}

    monkeypatch.setattr("runtime.machine_code.binaries", made)
    wanted = identities(p, "sm_90")
    found = machine_code(p, "sm_90", wanted)
    assert set(found) == {"k0", "k1", "k2", "k3"}
    assert (
        machine_code(p, "sm_90", wanted) | {"k2": found["k2"]} == found
    )  # what is refused is asked again
    assert asked == [[*wanted], ["k2"]]
    files = sorted(shelf.glob("*.gpu"))
    assert len(files) == 3 and all(f.stat().st_mode & 0o777 == 0o600 for f in files)
    files[0].write_bytes(files[0].read_bytes()[:-1])
    files[1].chmod(0o622)
    files[2].write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        again = machine_code(p, "sm_90", wanted)
    assert again | {"k2": found["k2"]} == found
    assert (
        sorted(asked[-1]) == ["k0", "k1", "k2", "k3"]
        and caplog.text.count("dropped the cached") == 3
    )
    monkeypatch.setenv("KCOMPILE_CACHE", "off")
    machine_code(p, "sm_90", wanted)
    assert len(asked) == 4


@pytest.fixture
def stand() -> Any:
    """What the stand-in is told: `fail(call, code)` until the test ends."""
    cuda = ctypes.CDLL(library())
    cuda.stand_listen(None)
    yield lambda call, code: cuda.stand_fail(call.encode(), code)
    cuda.stand_fail(b"", 0)
    assert cuda.stand_depth() == 0  # whatever failed, the context is given back


def launch(driver: Driver, b: Binary, shared: int = 0, programs: int = 1) -> None:
    addresses = (ctypes.c_uint64 * 16)()
    table = (ctypes.c_void_p * 16)(*(ctypes.addressof(addresses) + 8 * i for i in range(16)))
    function = driver.load(b.code, b.entry, 32 * b.usage.warps, min(shared, PLAIN_SHARED))
    driver.launch(function, programs, 32 * b.usage.warps, shared, 0, table)


def test_what_the_driver_refuses_is_named(
    binary: Binary, stand: Callable[[str, int], None]
) -> None:
    with pytest.raises(DriverError, match=r"device 3: unknown \(101\)"):
        Driver(3, library())
    driver = Driver(0, library())
    launch(driver, binary)
    with pytest.raises(
        DriverError, match=r"cuModuleLoadData for k0: CUDA_ERROR_INVALID_IMAGE \(200\)"
    ):
        driver.load(b"no image" * 9, "k0", 32, 0)
    with pytest.raises(DriverError, match=r"cuModuleGetFunction for other"):
        driver.load(binary.code, "other", 32, 0)
    with pytest.raises(ValueError, match="k0 takes 32 threads at most, not 33"):
        driver.load(binary.code, "k0", 33, 0)
    with pytest.raises(DriverError, match=r"cuFuncSetAttribute for k0: CUDA_ERROR_INVALID_VALUE"):
        driver.load(binary.code, "k0", 32, 1 << 20)
    with pytest.raises(
        DriverError, match=r"launch of 7 programs of 32 threads: CUDA_ERROR_INVALID"
    ) as e:
        launch(driver, binary, PLAIN_SHARED + 1, 7)
    assert e.value.code == 1
    driver.launch(
        driver.load(binary.code, "k0", 32, PLAIN_SHARED + 1), 1, 32, PLAIN_SHARED + 1, 0,
        (ctypes.c_void_p * 16)(*[ctypes.addressof(ctypes.c_uint64())] * 16),
    )  # fmt: skip
    stand("cuModuleLoadData", 2)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA_ERROR_OUT_OF_MEMORY"):
        launch(driver, binary)
    stand("cuLaunchKernel", 2)
    with pytest.raises(torch.OutOfMemoryError, match="a launch of 1 programs"):
        launch(driver, binary)


def test_a_kernel_that_is_to_be_launched_otherwise_is_refused() -> None:
    """A Triton whose kernels take more than addresses and scratch memory does not get that far."""
    line = "\t.param .u64 .ptr .global .align 1 k_param_{},\n"
    ptx = ".visible .entry k(\n" + "".join(line.format(i) for i in range(4)) + ")\n.reqntid 128"
    plain = {"num_warps": 4, "num_ctas": 1, "global_scratch_size": 0, "launch_pdl": False}
    _check(SimpleNamespace(**plain), ptx, 2, 4)
    with pytest.raises(ValueError, match="two of scratch memory"):
        _check(SimpleNamespace(**plain), ptx, 3, 4)
    with pytest.raises(ValueError, match="two of scratch memory"):
        _check(SimpleNamespace(**plain), ptx.replace(".u64", ".u32"), 2, 4)
    for name, odd in {"num_warps": 8, "global_scratch_size": 64, "launch_pdl": True}.items():
        with pytest.raises(ValueError, match=f"launched with.*{name}"):
            _check(SimpleNamespace(**{**plain, name: odd}), ptx, 2, 4)


def test_what_does_not_compile_is_refused_when_it_is_to_be_launched() -> None:
    graph, states = train_graph(mlp(6, 20), 5)
    p = generate(graph, "triton")
    made = TritonProgram(p, states, Interpreted())
    (launch,) = made.launch(p.kernels[0], Refused("k0 does not compile"))
    with pytest.raises(Refused, match="k0 does not"):
        launch()


@pytest.mark.parametrize("cuda_build", [True, False])
def test_the_driver_prepares_the_device_while_torch_is_imported(
    cuda_build: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = ctypes.CDLL(library())
    before = cuda.stand_retained()
    (tmp_path / "lib").mkdir()
    if cuda_build:
        (tmp_path / "lib" / "libtorch_cuda.so").touch()
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: cuda)
    monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "sees no CUDA device" in devices.without_cuda.__wrapped__()
    for thread in threading.enumerate():
        if thread.name == devices.PREPARING:
            thread.join()
    assert cuda.stand_retained() - before == cuda_build
