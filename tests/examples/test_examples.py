"""Every program in examples/ runs as a user would start it, on less data, and learns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
OLD_SPELLING = "ignore:Do not pass input_shape"  # three programs use it, as many Keras programs do
REACHED = {  # program -> what it prints -> what it must reach ("<": at most)
    "mlp_mnist": {"test accuracy": ">0.80"},
    "mlp_binary": {"test accuracy": ">0.75"},
    "cnn_mnist": {"test accuracy": ">0.65"},
    "cnn_cifar": {"test accuracy": ">0.55"},
    "lstm_imdb": {"test accuracy": ">0.85"},
    "seq2seq_lstm": {"words right": ">0.40"},
    "two_inputs": {"same accuracy": ">0.70", "topic accuracy": ">0.90"},
    "resnet_small": {"test accuracy": ">0.60"},
    "transformer_text": {"test accuracy": ">0.80"},
    "custom_layer": {"test error": "<0.05"},
}


def test_every_program_is_listed():
    assert {p.stem for p in EXAMPLES.glob("*.py")} == {*REACHED, "synthetic"}


@pytest.mark.parametrize("name", REACHED)
def test_it_learns(name, tmp_path):
    root = str(EXAMPLES.parent)
    env = os.environ | {
        "KCOMPILE_EXAMPLES_SHORT": "1",
        "KCOMPILE_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", OLD_SPELLING, str(EXAMPLES / f"{name}.py")],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for what, bound in REACHED[name].items():
        found = re.search(rf"^{what}: ([\d.]+)$", done.stdout, re.M)
        assert found, done.stdout[-1000:]
        value, limit = float(found[1]), float(bound[1:])
        assert value > limit if bound[0] == ">" else value < limit
