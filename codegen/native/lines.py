"""What goes along the lines of an array in C: running sums and products, and sorting.

Refuses to hold operands that are not memory (`apart`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from codegen.loops import Aff, Axis, Buf, Region
from codegen.native.apart import in_memory
from codegen.native.render import Kernel
from codegen.native.resolve import Unprintable, flat_form
from codegen.native.values import Aliased, counter, element, lane, literal, read, stored, written

# ascending, NaN last, equal ones as they came; sorted in runs of twice the length again and again
TEXT = r"""
APART void sort_@(long n, @ *x, @ *other) {
  @ *from = x, *to = other;
  for (long w = 1; w < n; w *= 2) {
    for (long low = 0; low < n; low += 2 * w) {
      long middle = low + w < n ? low + w : n, high = low + 2 * w < n ? low + 2 * w : n, a = low, b = middle;
      for (long k = low; k < high; k++)
        to[k] = a < middle && (b >= high || !before_@(from[b], from[a])) ? from[a++] : from[b++];
    }
    @ *t = from; from = to; to = t;
  }
  if (from != x) memcpy(x, from, sizeof(@) * n);
}
APART void argsort_@(long n, const @ *x, i32 *at, i32 *other) {
  i32 *from = at, *to = other;
  for (long k = 0; k < n; k++) at[k] = (i32)k;
  for (long w = 1; w < n; w *= 2) {
    for (long low = 0; low < n; low += 2 * w) {
      long middle = low + w < n ? low + w : n, high = low + 2 * w < n ? low + 2 * w : n, a = low, b = middle;
      for (long k = low; k < high; k++)
        to[k] = a < middle && (b >= high || !before_@(x[from[b]], x[from[a]])) ? from[a++] : from[b++];
    }
    i32 *t = from; from = to; to = t;
  }
  if (from != at) memcpy(at, from, sizeof(i32) * n);
}
"""


def lined(
    region: Region, places: Callable[[Buf], Any], scratch: Callable[[int], Buf]
) -> Kernel | None:
    """The function of a region that is one such operation on memory; None where it is not. Raises Unprintable."""
    if len(region.stores) != 1 or region.stores[0].value.op not in ("cum", "sort", "argsort"):
        return None
    store = region.stores[0]
    e = store.value
    (x,) = e.args
    if not in_memory(x):
        raise Unprintable(f"{e.op} of what is computed")
    axis: Axis = e.attr[1] if e.op == "cum" else e.attr[0]
    fx, fo = flat_form(x.attr[0], x.attr[1]), flat_form(store.buf, store.idx)
    if places(x.attr[0]) == places(store.buf):
        raise Aliased
    kept = [a for a in e.axes if a is not axis and a.size != 1]
    sx, so = dict(fx.terms), dict(fo.terms)
    bufs = [x.attr[0], store.buf]
    lanes = None
    if e.op == "cum":
        lanes = next((a for a in kept if sx.get(a) == 1 and so.get(a) == 1), None)
    loops = [a for a in kept if a is not lanes]
    names = {a: counter(k) for k, a in enumerate(loops)}

    def form(f: Aff) -> str:
        return " + ".join([*(f"{c}L * {names[a]}" for a, c in f.terms if a in names), str(f.const)])

    body = ["  " * (k + 1) + f"for (long {counter(k)} = 0; {counter(k)} < {a.size}; {counter(k)}++) {{" for k, a in enumerate(loops)]  # fmt: skip
    inner = [f"const {element(x.dtype)} *from = p0 + {form(fx)};", f"{element(e.dtype)} *to = p1 + {form(fo)};"]  # fmt: skip
    n, step, step_out = axis.size, sx.get(axis, 0), so.get(axis, 0)
    if e.op == "cum":
        inner += _running(e.attr, e.dtype, n, step, step_out, None if lanes is None else lanes.size)
    else:
        t = lane(x.dtype)
        size = 8 if t in ("f64", "i64", "u64") else 4
        bufs.append(scratch(n * (size // 4) + (n * (size // 4) if e.op == "sort" else 2 * n)))
        inner.append(f"{t} *line = ({t} *)p2;")
        inner.append(f"for (long k = 0; k < {n}; k++) line[k] = {read(f'from[{step} * k]', x.dtype)};")  # fmt: skip
        if e.op == "sort":
            inner.append(f"sort_{t}({n}, line, line + {n});")
            value = written("line[k]", e.dtype)
        else:
            inner.append(f"i32 *at = (i32 *)(line + {n});")
            inner.append(f"argsort_{t}({n}, line, at, at + {n});")
            value = "at[k]"
        inner.append(f"for (long k = 0; k < {n}; k++) to[{step_out} * k] = {value};")
    body += ["  " * (len(loops) + 1) + line for line in inner]
    body += ["  " * (k + 1) + "}" for k in reversed(range(len(loops)))]
    done = {1, 2} if len(bufs) == 3 else {1}
    return Kernel(body, bufs, done, {"loops": [a.size for a in loops]})


def _running(
    attr: tuple[Any, ...], dtype: str, n: int, step: int, step_out: int, lanes: int | None
) -> list[str]:
    """The lines of one running sum or product; with `lanes`, of as many side by side."""
    fn, _, reverse, exclusive = attr
    t, sign = lane(dtype), "*" if fn == "prod" else "+"
    at = f"{n - 1} - k" if reverse else "k"
    unit = literal(int(fn == "prod"), dtype)
    if lanes is None:
        x, put = read(f"from[{step} * ({at})]", dtype), f"to[{step_out} * ({at})] = {written('sum', dtype)};"  # fmt: skip
        start, head, tail = f"{t} sum = {unit};", [], []
    else:
        kind = stored(dtype)
        x = f"ld_{kind}(from + {step} * ({at}) + j, n)"
        put = f"st_{kind}(to + {step_out} * ({at}) + j, {'round_vbf16(sum)' if dtype == 'bf16' else 'sum'}, n);"
        start = f"v{t} sum = splat_{t}({unit});"
        head = [f"for (long j = 0; j < {lanes}; j += W) {{", f"const int n = {lanes} - j < W ? {lanes} - j : W;"]  # fmt: skip
        tail = ["}"]
    if lanes is None and dtype == "bf16":
        put = put.replace("= sum", "= round_bf16(sum)")
    kind = f"v{t}" if lanes is not None else t
    add = f"sum = sum {sign} x;"
    order = [put, add] if exclusive else [add, put]
    return [*head, start, f"for (long k = 0; k < {n}; k++) {{", f"  const {kind} x = {x};",
            *("  " + o for o in order), "}", *tail]  # fmt: skip
