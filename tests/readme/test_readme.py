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

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TABLE = re.compile(r"(?<=<!-- layers -->\n).*?(?=<!-- /layers -->)", re.S)


def table() -> str:
    """A row for each module of layers, from `kcompile.layers`."""
    import kcompile.layers as layers

    rows: dict[str, list[str]] = {}
    for name, thing in inspect.getmembers(layers, inspect.isclass):
        home = thing.__module__.rsplit(".", 1)[-1]
        if issubclass(thing, layers.Layer) and thing.__name__ == name and thing is not layers.Layer:
            rows.setdefault(home.replace("_", " "), []).append(f"`{name}`")
    lines = [f"| {home} | {', '.join(sorted(names))} |" for home, names in sorted(rows.items())]
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
