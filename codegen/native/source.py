"""The source of a native program: runs of C calls printed as C functions, and the Python around them.

Calls of C functions that follow one another, time loops of scans included, become one C function that takes no arguments but
a table of addresses; `step` calls those and, between them, NumPy. The C text stands in the program's source, which asks
`tools.native` to compile it. Refuses to hold which nodes become which calls (`program`) and how C is compiled (`runtime.native`).
"""

from __future__ import annotations

from collections.abc import Sequence

from codegen.native import gemm, library, lines, threads, tiles
from codegen.native.calls import NativeCall
from codegen.native.panels import PANELS
from codegen.native.prelude import prelude
from codegen.native.values import element
from codegen.numpy.text import Source
from codegen.numpy.views import Call, Loop, Operand, Shaped, Slot


class NativeSource(Source):
    """The source of a native program: runs of C calls are printed as C functions, in one string."""

    def __init__(self, calls: Sequence[Call], slots: Sequence[Slot]):
        self.every = calls
        self.number = {s: k for k, s in enumerate(slots)}
        self.functions: dict[str, str] = {}  # text of a function without its name: its name
        self.texts: list[str] = []
        self.segments: dict[str, str] = {}  # name of a function for `step`: its text
        self.shares: dict[str, str] = {}  # function that threads share: the text of a part
        self.own = 0  # bytes of scratch of a thread
        self.of_call: dict[int, int] = {}  # call: index of the text it is in
        kept: list[Call] = []
        new_at: dict[int, int] = {}
        at = 0
        while at < len(calls):
            end = at
            while end < len(calls) and (stop := _native_until(calls, end)) is not None:
                end = stop
            if end > at:
                name = self._segment(at, end)
                kept.append(Call(f"{name}()", (), (), False, None, kernel=calls[at].kernel))
                for k in range(at, end):
                    new_at[k] = len(kept) - 1
                at = end
                continue
            new_at[at] = len(kept)
            kept.append(calls[at])
            at += 1
        for lp in {lp for c in kept for lp in _loops(c)}:
            lp.first, lp.last = new_at[lp.first], new_at[lp.last]
        self.new_at = new_at
        super().__init__(kept, slots)
        if self.segments:
            names = list(self.segments)
            self.made.append(f"{', '.join(names)}, = tools.native(C, {names!r}, buffers)")

    # -- C ----------------------------------------------------------------------------------------

    def _function(self, at: int, call: NativeCall) -> str:
        """The name of the C function of a call, printed once for equal ones."""
        kernel = call.function
        assert kernel is not None
        slots = [a.slot for a in call.args if isinstance(a, Shaped)]
        params = []
        for k, b in enumerate(kernel.bufs):
            alone = sum(slots[k] is s for s in slots) == 1
            params.append(
                f"{'' if k in kernel.written else 'const '}{element(b.dtype)} *{'restrict ' if alone else ''}p{k}"
            )
        if kernel.units:
            params += ["long lo", "long hi"]
        if kernel.per_thread:
            params.append("char *own")
            self.own = max(self.own, kernel.per_thread)
        body = f"({', '.join(params)}) {{\n" + "\n".join(kernel.body) + "\n}\n"
        name = self.functions.get(body)
        if name is None:
            name = self.functions[body] = f"k{len(self.functions)}"
            self.texts.append(f"APART void {name}{body}")
        self.of_call[at] = int(name[1:])
        return name

    def _called(self, at: int, call: NativeCall, open_: list[Loop]) -> str:
        """The text of a call."""
        kernel, name = call.function, self._function(at, call)
        assert kernel is not None
        args = [self._address(a, open_) for a in call.args]
        if threads.shared(kernel):
            self.shares[name] = threads.part(name, kernel)
            table = f"(void *[]){{{', '.join(args)}}}"
            return f"each({name}_part, {table}, {kernel.units}, {round(kernel.cost)})"
        args += ["0", str(kernel.units)] if kernel.units else []
        args += ["own"] if kernel.per_thread else []
        return f"{name}({', '.join(args)})"

    def _segment(self, at: int, end: int) -> str:
        lines: list[str] = []
        self._statements(at, end, None, [], lines, 1)
        name = f"s{at}"
        if any(
            library.types("\n".join(c.function.body))
            for c in self.every[at:end]
            if isinstance(c, NativeCall) and c.function
        ):
            lines = [f"  {library.ENTER}", *lines, f"  {library.LEAVE}"]
        self.segments[name] = f"void {name}(char **b) {{\n" + "\n".join(lines) + "\n}\n"
        return name

    def _statements(
        self, at: int, end: int, loop: Loop | None, open_: list[Loop], lines: list[str], depth: int
    ) -> None:
        pad = "  " * depth
        while at < end:
            call = self.every[at]
            if call.loop is loop:
                assert isinstance(call, NativeCall)
                lines.append(f"{pad}{self._called(at, call, open_)};  // k{call.kernel}")
                at += 1
                continue
            assert call.loop is not None
            inner = call.loop.child_of(loop)
            t = f"t{len(open_)}"
            lines.append(f"{pad}for (long {t} = 0; {t} < {inner.count}; {t}++) {{")
            self._statements(at, inner.last + 1, inner, [*open_, inner], lines, depth + 1)
            lines.append(f"{pad}}}")
            at = inner.last + 1

    def _address(self, a: Operand, open_: list[Loop]) -> str:
        assert isinstance(a, Shaped)
        text = str(a.offset)
        for lp, step in a.loops:
            text += f" + {step}L * t{open_.index(lp)}"
        if a.alternate is not None:
            lp, step = a.alternate
            text += f" + {abs(step)}L * ((t{open_.index(lp)} + {1 if step < 0 else 0}) % 2)"
        text = f"({element(a.slot.dtype)} *)b[{self.number[a.slot]}] + {text}".replace(
            " + 0 +", " +"
        ).removesuffix(" + 0")
        if a.first is not None:
            t = open_.index(a.alternate[0] if a.alternate is not None else a.loops[0][0])
            return f"t{t} == 0 ? {self._address(a.first, open_)} : {text}"
        return text

    # -- Python -----------------------------------------------------------------------------------

    def text(self) -> str:
        plain = super().text()
        at_of = [self.lines[self.new_at[k]] for k in range(len(self.every))]
        if not self.segments:
            self.lines = at_of
            return plain
        out = plain.splitlines()
        at = next(k for k, line in enumerate(out) if line.startswith("def "))
        if len(self.calls) == len(self.segments) == 1:  # all of it is C
            (name,) = self.segments
            out = [out[0], "", *_ALONE.format(name=name).splitlines()]
            at = 2
        body = "\n".join([*self.texts, *self.segments.values()])
        texts = (*gemm.TEXTS, library.TEXT, *tiles.TEXTS, PANELS, lines.TEXT)
        head = ['C = r"""', *prelude(body, texts)]
        starts = []
        for t in self.texts:
            starts.append(at + len(head) + 1)
            head += t.splitlines()
        if self.own:
            head.append(f"static __thread char own[{self.own}] __attribute__((aligned(64)));")
        if found := library.types(body):
            head += library.pointers(found)
        if self.shares:
            head += threads.EACH.splitlines()
        for t in (*self.shares.values(), *self.segments.values()):
            head += t.splitlines()
        head += ['"""', "", ""]
        self.lines = [
            starts[self.of_call[k]] if k in self.of_call else line + len(head)
            for k, line in enumerate(at_of)
        ]
        return "\n".join([*out[:at], *head, *out[at:], ""])


_ALONE = """
def build(buffers, tools):
    step, = tools.native(C, ["{name}"], buffers)
    return step
"""


def _loops(c: Call) -> list[Loop]:
    out, lp = [], c.loop
    while lp is not None:
        out.append(lp)
        lp = lp.parent
    return out


def _native_until(calls: Sequence[Call], at: int) -> int | None:
    """Where the native stretch that begins with call `at` at the top ends; None if it is not native."""
    loops = _loops(calls[at])
    end = loops[-1].last + 1 if loops else at + 1
    return end if all(isinstance(c, NativeCall) for c in calls[at:end]) else None
