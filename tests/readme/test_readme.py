"""What the README shows holds: the example runs, the layer table is the code's, links lead somewhere.

`pytest tests/readme --regold` rewrites the table.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import kcompile.layers as layers

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TABLE = re.compile(r"(?<=<!-- layers -->\n).*?(?=<!-- /layers -->)", re.S)


KINDS = {  # where a module's name is not what a reader looks for
    "batch_normalization": "normalization", "dot_attention": "attention", "einsum_dense": "core", "input_layer": "core",
    "cells": "recurrent", "gated_cells": "recurrent", "stacked_cells": "recurrent", "rnn": "recurrent",
    "augmentation": "preprocessing", "images": "preprocessing", "categories": "preprocessing", "separable": "convolution", "resizing": "reshaping", "merging": "merging branches", "wrappers": "wrappers of layers",
}  # fmt: skip


def table() -> str:
    """A row for each kind of layer, from `kcompile.layers`."""
    rows: dict[str, list[str]] = {}
    for name, thing in inspect.getmembers(layers, inspect.isclass):
        if issubclass(thing, layers.Layer) and thing.__name__ == name and thing is not layers.Layer:
            home = thing.__module__.rsplit(".", 1)[-1]
            rows.setdefault(KINDS.get(home, home), []).append(name)
    lines = [
        f"| {kind} | {', '.join(f'`{n}`' for n in sorted(names))} |"
        for kind, names in sorted(rows.items())
    ]
    return "\n".join(["| kind | layers |", "|---|---|", *lines, ""])


def test_layer_table(regold):
    text = README.read_text()
    if regold:
        README.write_text(TABLE.sub(lambda _: table(), text))
    found = TABLE.search(README.read_text())
    assert found and found[0] == table(), "run: pytest tests/readme --regold"


def test_example(tmp_path):
    code = re.search(r"<!-- example -->\n```python\n(.*?)```", README.read_text(), re.S)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "digits.onnx").stat().st_size > 10_000
    assert "def train_step(" in done.stdout


def test_links():
    for page in [
        README,
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("*/README.md"),
    ]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_environment_variables_are_documented():
    """One table holds all of them, and none that nothing reads."""
    read = {
        name
        for floor in ("ir", "codegen", "runtime", "kcompile")
        for p in (ROOT / floor).rglob("*.py")
        for name in re.findall(r"environ[^\n]*?\"((?:KCOMPILE|KERAS)_\w+)\"", p.read_text())
    }
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert read == set(re.findall(r"^\| `(K\w+_\w+)` \|", page, re.M))
