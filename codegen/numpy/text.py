"""The source of a NumPy program: names for views, loops over lists of views, `step` and `build`.

Everything a step touches is made once in `build`, most of it from one table; `step` is calls on names, which are
its globals (thousands of variables of a closure take Python seconds to compile). No name of the user's
graph reaches the text. Refuses to choose calls or memory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from codegen.numpy.pointwise import UFUNCS
from codegen.numpy.views import NUMPY_NAMES, Bound, Call, Const, Loop, Operand, Shaped, Slot

HEAD = '''"""A program made by code generation: build(buffers, tools) returns the function that runs one step."""

from types import FunctionType

{imports}
# name, buffer, dtype, offset, shape, strides, loops; offsets and strides in bytes; or a bound call (see tools.views)
VIEWS = """
{table}
"""
'''
TAIL = """

def build(buffers, tools):
{made}
    names = globals() | locals() | tools.views(buffers, VIEWS)
    for function in ({functions}):
        names[function.__name__] = FunctionType(function.__code__, names)
    for k in range({sections}):
        names[f"both{{k}}"] = tools.both(names[f"first{{k}}"], names[f"second{{k}}"])
    return tools.step(names["step"])
"""
_NAMES = re.compile(r"[a-z_][a-z_0-9]*")


class Source:
    """The text of one program from its calls. `lines[i]`: the line in the source of call i (1-based)."""

    def __init__(self, calls: Sequence[Call], slots: Sequence[Slot]):
        self.calls = calls
        self.names: dict[Operand, str] = {}
        self.table: list[str] = []  # of views
        self.made: list[str] = []  # other lines of `build`
        self.lines: list[int] = []
        self.index = {s: f"b{k}" for k, s in enumerate(slots)}
        self.vars: dict[Loop, str] = {}
        for call in calls:
            for arg in _operands(call):
                self.name(arg)
        self.body: list[tuple[str, int]] = []  # text and the call it prints, or -1
        self.parts: list[list[tuple[str, int]]] = []  # the same for functions that threads run
        self.kernel = -1
        self._sections()

    def name(self, arg: Operand) -> str:
        """The name in `build` of an operand: a view, a list of views, a constant, an object."""
        found = self.names.get(arg)
        if found is not None:
            return found
        if isinstance(arg, Shaped):
            whole = self._whole(arg)
            if whole is not None:
                self.names[arg] = whole
                return whole
            row = self._row(arg)
            name = self.names[arg] = f"v{len(self.table)}"
            self.table.append(f"{name} {row}")
            return name
        if isinstance(arg, Bound):
            words = [_word(a) if isinstance(a, Const) else self.name(a) for a in arg.args]
            name = self.names[arg] = f"f{len(self.table)}"
            self.table.append(f"{name} call {arg.tool} {' '.join(words)}")
            return name
        if isinstance(arg, Const):
            kind, text = "c", f"array({_literal(arg)}, {NUMPY_NAMES[arg.dtype]})"
        else:
            kind, text = "x", arg.text
        name = self.names[arg] = f"{kind}{len(self.made)}"
        self.made.append(f"{name} = {text}")
        return name

    def _whole(self, arg: Shaped) -> str | None:
        slot = arg.slot
        if (
            arg.loops
            or arg.offset
            or arg.dtype
            or arg.first
            or arg.alternate
            or arg.shape != slot.shape
        ):
            return None
        step = 1
        for n, s in zip(reversed(arg.shape), reversed(arg.strides), strict=True):
            if n != 1 and s != step:
                return None
            step *= n
        return self.index[slot]

    def _row(self, arg: Shaped) -> str:
        """The view as a line of the table, without its name."""
        size = arg.slot.itemsize
        words = [
            self.index[arg.slot],
            NUMPY_NAMES[arg.dtype or arg.slot.dtype],
            str(arg.offset * size),
            ",".join(map(str, arg.shape)) or "-",
            ",".join([str(s * size) for s in arg.strides]) or "-",
        ]
        if arg.alternate is not None:
            loop, step = arg.alternate
            words.append(f"{loop.count}%{step * size}")
        else:
            loops = sorted(arg.loops, key=lambda t: _depth(t[0]))
            words += [f"{loop.count}:{step * size}" for loop, step in loops]
        if arg.first is not None:
            words.append(f"<{self.name(arg.first)}")
        return " ".join(words)

    def _sections(self) -> None:
        """The whole program: sections as functions, called together; the rest in line."""
        at, step = 0, self.body
        while at < len(self.calls):
            here, stop = self.calls[at].section, at + 1
            while stop < len(self.calls) and self.calls[stop].section == here:
                stop += 1
            if here is not None:
                self.body = [(f"def {_part(len(self.parts))}():", -1)]
                self.parts.append(self.body)
            self._block(at, stop, None, {}, 1)
            if here is not None:
                self.body = step
                following = self.calls[stop].section if stop < len(self.calls) else None
                if following is None or following[0] is not here[0]:
                    self.body.append((f"    both{len(self.parts) // 2 - 1}()", -1))
            at = stop

    def _block(
        self, start: int, stop: int, loop: Loop | None, local: dict[Operand, str], depth: int
    ) -> None:
        pad = "    " * depth
        at = start
        while at < stop:
            call = self.calls[at]
            if loop is None and call.kernel != self.kernel:
                self.kernel = call.kernel
                self.body.append((f"{pad}# k{self.kernel}", -1))
            if call.loop is loop:
                args = [local.get(a) or self.names[a] for a in call.args]
                text = call.text.format(*args)
                if call.bound is not None:
                    function = local.get(call.bound) or self.names[call.bound]
                    text = f"{function}()  # {text}"
                self.body.append((pad + text, at))
                at += 1
                continue
            assert call.loop is not None
            inner = call.loop.child_of(loop)
            end = inner.last + 1
            moving = dict.fromkeys(
                a
                for c in self.calls[at:end]
                for a in _operands(c)
                if isinstance(a, Shaped | Bound) and _moves(a, inner)
            )
            fresh = {a: f"t{len(local) + k}" for k, a in enumerate(moving)}
            lists = [local.get(a) or self.names[a] for a in moving]
            if not fresh:
                self.body.append((f"{pad}for _ in range({inner.count}):", -1))
            elif len(fresh) == 1:
                self.body.append((f"{pad}for {next(iter(fresh.values()))} in {lists[0]}:", -1))
            else:
                key = f"l{len(self.table)}"  # the tuples are made once
                if local.keys() & moving.keys():
                    source = f"zip({', '.join(lists)})"
                else:
                    self.table.append(f"{key} zip {' '.join(lists)}")
                    source = key
                self.body.append((f"{pad}for {', '.join(fresh.values())} in {source}:", -1))
            names: dict[Operand, str] = dict(local)
            names.update((a, n) for a, n in fresh.items())
            self._block(at, end, inner, names, depth + 1)
            at = end

    def text(self) -> str:
        """The whole source; sets `lines`."""
        made = "\n".join(f"    {line}" for line in self.made)
        used = set(
            _NAMES.findall("\n".join([made, *(t for b in (self.body, *self.parts) for t, _ in b)]))
        )
        imports = ", ".join(sorted(used & _IMPORTS))
        imports = f"from numpy import {imports}\n" if imports else ""
        out = HEAD.format(imports=imports, table="\n".join(self.table)).splitlines()
        self.lines = [0] * len(self.calls)
        for body in (*self.parts, [("def step():", -1), *(self.body or [("    pass", -1)])]):
            out += ["", ""]
            for text, at in body:
                out.append(text)
                if at >= 0:
                    self.lines[at] = len(out)
        functions = "".join(f"{_part(k)}, " for k in range(len(self.parts))) + "step,"
        return "\n".join([*out, ""]) + TAIL.format(
            made=made,
            functions=functions,
            sections=len(self.parts) // 2,
        )


_IMPORTS = {
    *UFUNCS,
    *NUMPY_NAMES.values(),
    "copyto",
    "matmul",
    "full",
    "ones",
    "arange",
    "array",
    "argmax",
    "argmin",
    "inf",
    "nan",
}


def _part(k: int) -> str:
    """The name of the k-th function that a thread runs: sections have two."""
    return f"{('first', 'second')[k % 2]}{k // 2}"


def _operands(call: Call) -> tuple[Operand, ...]:
    """What a call's line names; of a bound call the arrays, too, for the reader."""
    return call.args if call.bound is None else (*call.args, call.bound)


def _moves(a: Shaped | Bound, loop: Loop) -> bool:
    if isinstance(a, Bound):
        return any(isinstance(x, Shaped) and _moves(x, loop) for x in a.args)
    if any(lp is loop for lp, _ in a.loops) or (a.alternate is not None and a.alternate[0] is loop):
        return True
    return a.first is not None and _moves(a.first, loop)


def _depth(loop: Loop) -> int:
    n = 0
    while loop.parent is not None:
        loop, n = loop.parent, n + 1
    return n


def _word(c: Const) -> str:
    """A constant in the table of views."""
    return f"{c.value!r}:{NUMPY_NAMES[c.dtype]}"


def _literal(c: Const) -> str:
    if c.dtype == "bool":
        return repr(bool(c.value))
    return repr(c.value)
