"""The rules of the house that a machine can hold: who imports whom, where, and how long a file is.

Everything is read off the sources (nothing is imported), so a rule holds for modules no test runs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("ir", "codegen", "runtime", "kcompile")  # from the ground up
LAZY = {  # third-party modules, and one of the standard library, that are imported by their one user
    "torch", "triton", "onnx", "onnxruntime", "h5py", "keras", "rich", "click", "jinja2", "pygments", "scipy",
    "pandas", "numba", "tensorflow", "urllib", "ml_dtypes", "PIL",
}  # fmt: skip
FULL_INITS = {
    "ir/ops/__init__.py",
    "kcompile/__init__.py",
}  # a table of ops, a table of public names
LIMIT = 400
FORBIDDEN_NAMES = re.compile(r"^(helpers?|common|misc|manager|base|util)s?$")
ALLOWED_NAMES = {"kcompile/utils"}  # Keras's public namespace


def files() -> list[Path]:
    return sorted(p for floor in FLOORS for p in (ROOT / floor).rglob("*.py"))


def label(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module(p) for p in files()}


def imported(node: ast.stmt, path: Path) -> Iterator[str]:
    """The modules that an import statement names, as far as they are ours or packages."""
    if isinstance(node, ast.Import):
        yield from (a.name for a in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{label(path)}:{node.lineno}: imports are absolute"
        assert node.module
        for a in node.names:
            inner = f"{node.module}.{a.name}"
            yield inner if inner in MODULES else node.module


def imports(path: Path, *, everywhere: bool = False) -> Iterator[tuple[int, str]]:
    """(line, module) of the imports that run when the module is imported; all of them if `everywhere`."""
    todo: list[ast.AST] = [tree(path)]
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((node.lineno, name) for name in imported(node, path))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not everywhere:
            continue
        elif (
            isinstance(node, ast.If)
            and "TYPE_CHECKING" in ast.unparse(node.test)
            and not everywhere
        ):
            todo.extend(node.orelse)
        else:
            todo.extend(ast.iter_child_nodes(node))


def test_imports_go_down():
    wrong = []
    for path in files():
        floor = FLOORS.index(path.relative_to(ROOT).parts[0])
        for line, name in imports(path, everywhere=True):
            top = name.split(".")[0]
            if top in FLOORS and FLOORS.index(top) > floor:
                wrong.append(f"{label(path)}:{line} imports {name}")
    assert not wrong


def test_runtime_takes_only_the_program_from_codegen():
    wrong = [
        f"{label(p)}:{line} imports {name}"
        for p in files()
        if label(p).startswith("runtime/")
        for line, name in imports(p, everywhere=True)
        if name.split(".")[0] == "codegen" and name != "codegen.program"
    ]
    assert not wrong


def test_ir_imports_numpy_and_the_standard_library_alone():
    thirds = LAZY - {"urllib"}
    wrong = [
        f"{label(p)}:{line} imports {name}"
        for p in files()
        if label(p).startswith("ir/")
        for line, name in imports(p, everywhere=True)
        if name.split(".")[0] in thirds
    ]
    assert not wrong


def test_no_cycles():
    graph = {}
    for path in files():
        name = module(path)
        named = {n for _, n in imports(path) if n in MODULES}
        # an import runs the packages above the module it names first, but for those being imported already
        above = {".".join(n.split(".")[:k]) for n in named for k in range(1, n.count(".") + 1)}
        graph[name] = named | {p for p in above & MODULES if not f"{name}.".startswith(f"{p}.")}
    state: dict[str, int] = {}
    cycles = []

    def visit(name: str, path: list[str]) -> None:
        state[name] = 1
        for other in sorted(graph[name]):
            if other == name:
                continue
            if state.get(other) == 1:
                cycles.append(" -> ".join([*path[path.index(other) :], other]))
            elif other not in state:
                visit(other, [*path, other])
        state[name] = 2

    for name in sorted(graph):
        if name not in state:
            visit(name, [name])
    assert not cycles


def test_imports_inside_functions_are_lazy_third_party_ones():
    wrong = []
    for path in files():
        for function in ast.walk(tree(path)):
            if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            for node in ast.walk(function):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    names = list(imported(node, path))
                    if not all(n.split(".")[0] in LAZY for n in names):
                        wrong.append(f"{label(path)}:{node.lineno} imports {', '.join(names)}")
    assert not wrong


def test_third_party_modules_but_numpy_are_lazy():
    thirds = LAZY - {"urllib"}
    wrong = [
        f"{label(p)}:{line} imports {name}"
        for p in files()
        for line, name in imports(p)
        if name.split(".")[0] in thirds
    ]
    assert not wrong


def test_no_module_imports_its_own_package_root():
    wrong = [
        f"{label(p)}:{line} imports {name}"
        for p in files()
        for line, name in imports(p, everywhere=True)
        if name == p.relative_to(ROOT).parts[0] and p.name != "__init__.py"
    ]
    assert not wrong


def test_init_files_hold_nothing_but_public_names():
    wrong = []
    for path in files():
        if path.name != "__init__.py" or label(path) in FULL_INITS:
            continue
        public = label(path).startswith("kcompile/")
        for node in tree(path).body:
            text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            name = isinstance(node, (ast.Assign, ast.AnnAssign)) and ast.unparse(
                node.targets[0] if isinstance(node, ast.Assign) else node.target
            ) in ("__all__", "__version__", "__getattr__")
            lazy = (
                isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__")
            ) or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("_"))
            if not text and not (
                public and (name or lazy or isinstance(node, (ast.Import, ast.ImportFrom)))
            ):
                wrong.append(f"{label(path)}:{node.lineno}")
    assert not wrong


RUNS_CODE = {  # the few places that may turn text or bytes into something that runs
    "kcompile/__init__.py": {"importlib"},  # its own modules, from a table
    "kcompile/saving/__init__.py": {"importlib"},
    "codegen/pipeline.py": {"importlib"},  # our own target, named there
    "kcompile/later.py": {"importlib"},  # our own modules, named in our own classes
    "runtime/executable.py": {"exec", "compile"},  # the compiler's own output
    "kcompile/datasets/plain_pickle.py": {"pickle"},  # a reader that looks up no name
}


def test_nothing_from_a_file_can_run():
    wrong = []
    for path in files():
        allowed = RUNS_CODE.get(label(path), set())
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in {"eval", "exec", "compile", "__import__"} - allowed:
                    wrong.append(f"{label(path)}:{node.lineno} calls {node.func.id}")
        for line, name in imports(path, everywhere=True):
            if (
                name
                in {"pickle", "marshal", "shelve", "importlib", "imp", "runpy", "dill"} - allowed
            ):
                wrong.append(f"{label(path)}:{line} imports {name}")
    assert not wrong


def test_every_module_says_what_it_holds():
    assert not [
        label(p) for p in files() if p.name != "__init__.py" and not ast.get_docstring(tree(p))
    ]


def test_long_files_say_why():
    wrong = []
    for path in files():
        lines = path.read_text().count("\n")
        text = ast.get_docstring(tree(path)) or ""
        if lines > LIMIT and "long" not in text.lower():
            wrong.append(
                f"{label(path)} has {lines} lines; its first paragraph does not say why it is long"
            )
    assert not wrong


def test_names_say_something():
    wrong = []
    for path in files():
        for part in (path, *path.parents):
            if part == ROOT:
                break
            if FORBIDDEN_NAMES.match(part.stem) and label(part) not in ALLOWED_NAMES:
                wrong.append(label(path))
    assert not wrong


@pytest.mark.parametrize("folder", [*FLOORS, "tests", "benchmarks", "examples", "docs"])
def test_nothing_is_left_for_later(folder):
    marker = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|HA" + r"CK)\b")
    wrong = [
        f"{label(p)}:{i}"
        for p in sorted((ROOT / folder).rglob("*"))
        if p.suffix in (".py", ".md", ".ir", ".toml")
        for i, line in enumerate(p.read_text().splitlines(), 1)
        if marker.search(line)
    ]
    assert not wrong


def test_nothing_depends_on_the_place_it_was_written_in():
    foreign = re.compile(r"\.\./shared|/work/|/opt/envs|/root/")
    tracked = [
        p
        for d in (*FLOORS, "tests", "benchmarks", "examples", "docs")
        for p in (ROOT / d).rglob("*")
    ]
    tracked += [
        ROOT / n for n in ("README.md", "Makefile", "pyproject.toml", "CONTRIBUTING.md", ".ci/run")
    ]
    wrong = [
        f"{label(p)}:{i}"
        for p in tracked
        if p.is_file() and p != Path(__file__) and p.suffix in (".py", ".md", ".toml", "", ".ir")
        for i, line in enumerate(p.read_text().splitlines(), 1)
        if foreign.search(line)
    ]
    assert not wrong
