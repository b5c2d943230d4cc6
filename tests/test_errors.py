"""The registry of error codes: every code is documented and raised somewhere, and users meet no error without one.

`pytest tests/test_errors.py --regold` rewrites the table of docs/errors.md.
"""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import kcompile as keras
import kcompile.errors as errors
from kcompile.run_on import targets_of

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "errors.md"
TABLE = re.compile(r"(?<=<!-- codes -->\n).*?(?=<!-- /codes -->)", re.S)
GROUPS = {
    "1": "tensors, shapes, dtypes, tracing",
    "2": "layers and models",
    "3": "training",
    "4": "files and configs",
    "5": "export and compiler",
}
BUILTIN = {  # what may be raised without a code, and where: never met by a user, or turned into one that has a code
    "kcompile/__init__.py": {"AttributeError"},  # a missing name of a module, as Python says it
    "kcompile/saving/__init__.py": {"AttributeError"},
    "kcompile/errors.py": {"KeyError"},
    "kcompile/step.py": {"ValueError"},
    "kcompile/network.py": {"LookupError"},  # a call that waits for another
    "kcompile/operation.py": {"NotImplementedError"},  # methods that our own subclasses define
    "kcompile/layers/augmentation.py": {"NotImplementedError"},
    "kcompile/layers/cells.py": {"NotImplementedError"},
    "kcompile/layers/merging.py": {"NotImplementedError"},
    "kcompile/layers/recurrent.py": {"NotImplementedError"},
    "kcompile/datasets/plain_pickle.py": {"ValueError"},  # becomes KC402 where it is caught
}


def sources() -> list[Path]:
    return sorted((ROOT / "kcompile").rglob("*.py"))


def table() -> str:
    rows = ["| code | meaning |", "|---|---|"]
    for group, title in GROUPS.items():
        rows.append(f"| | **{title}** |")
        rows += [f"| {c} | {text} |" for c, text in errors.CODES.items() if c[2] == group]
    return "\n".join([*rows, ""])


def test_the_page_lists_the_registry(regold):
    text = PAGE.read_text()
    if regold:
        PAGE.write_text(TABLE.sub(lambda _: table(), text))
    found = TABLE.search(PAGE.read_text())
    assert found and found[0] == table(), "run: pytest tests/test_errors.py --regold"


def test_every_code_is_raised_and_registered():
    used = {
        code
        for p in sources()
        if p.name != "errors.py"
        for code in re.findall(r'"(KC\d+)"', p.read_text())
    }
    assert used == set(errors.CODES)


def test_errors_that_users_meet_have_a_code():
    wrong = []
    for path in sources():
        where = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Raise) or node.exc is None:
                continue
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = raised.id if isinstance(raised, ast.Name) else ""
            if re.fullmatch(r"[A-Z]\w*(Error|Exception)", name) and not name.startswith("KC"):
                if name not in BUILTIN.get(where, set()):
                    wrong.append(f"{where}:{node.lineno} raises {name}")
    assert not wrong


@pytest.mark.parametrize(
    "cls", [c for c in vars(errors).values() if isinstance(c, type)], ids=lambda c: c.__name__
)
def test_three_parts_and_a_builtin_class(cls):
    assert issubclass(cls, errors.KCError)
    assert cls is errors.KCError or any(
        b.__module__ == "builtins" and b is not Exception for b in cls.__mro__[2:3]
    )
    error = cls("KC305", "epochs=-1", "at least 0", "pass epochs=5")
    assert str(error) == "[KC305] epochs=-1\n  rule: at least 0\n  what to do: pass epochs=5"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (cls, str(error), "KC305")
    with pytest.raises(KeyError, match="KC999"):
        cls("KC999", "", "", "")


def test_an_unknown_target_is_refused(monkeypatch):
    monkeypatch.setenv("KCOMPILE_TARGET", "abacus")
    with pytest.raises(errors.KCValueError, match=r"KC502.*abacus[\s\S]*native, numpy, reference"):
        targets_of(keras.Sequential())
