"""A native program as an executable of its own, in which a call of a kernel may touch the memory it says and no other.

Buffers lie in the arena as planned, states and data beside it with gaps between, and what nobody has written is NaN. Around every
call all memory is compared: only the buffers that the kernel writes may have changed. With the address sanitizer whatever is no buffer of
the call is poisoned meanwhile, and masked loads and stores, which it does not see, go lane by lane. The units of a kernel run
from the last to the first. Refuses to choose programs and compilers.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from codegen.program import Program
from ir.types import NUMPY

GAP = 64  # bytes between what owns its memory, more than a vector
CALL = re.compile(r"^  +(?:each\((k\d+)_part, \(void \*\[\]\)\{(.*)\}, \d+, \d+\)|(k\d+)\((.*)\));(?=  // k-?\d+$)", re.M)  # fmt: skip

SEEN = r"""
#ifdef __SANITIZE_ADDRESS__
#if W == 16
static vi32 seen_load(const i32 *p, vi32 r, u16 m) { for (int k = 0; k < W; k++) if (m >> k & 1) r[k] = p[k]; return r; }
static void seen_store(i32 *p, vi32 x, u16 m) { for (int k = 0; k < W; k++) if (m >> k & 1) p[k] = x[k]; }
#define __builtin_ia32_loaddqusi512_mask seen_load
#define __builtin_ia32_storedqusi512_mask seen_store
#elif W == 8
static vf32 seen_load(const vf32 *p, vi32 m) { vf32 r = {0}; for (int k = 0; k < W; k++) if (m[k]) r[k] = ((f32 *)p)[k]; return r; }
static void seen_store(vf32 *p, vi32 m, vf32 x) { for (int k = 0; k < W; k++) if (m[k]) ((f32 *)p)[k] = x[k]; }
#define __builtin_ia32_maskloadps256 seen_load
#define __builtin_ia32_maskstoreps256 seen_store
#endif
#endif
"""
AROUND = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define __asan_poison_memory_region(p, n)
#define __asan_unpoison_memory_region(p, n)
#endif
static const long place[] = {%(places)s}, size[] = {%(sizes)s};
static char *every, *before;
static void enter(int n, const int *touched) {
  memcpy(before, every, %(total)d);
  __asan_poison_memory_region(every, %(total)d);
  for (int k = 0; k < n; k++) __asan_unpoison_memory_region(every + place[touched[k]], size[touched[k]]);
}
static void leave(int n, const int *written, const char *what) {
  __asan_unpoison_memory_region(every, %(total)d);
  for (int k = 0; k < n; k++) memcpy(before + place[written[k]], every + place[written[k]], size[written[k]]);
  if (memcmp(before, every, %(total)d)) { fprintf(stderr, "%%s writes where it should not\n", what); exit(3); }
}
"""
MAIN = r"""
%(backwards)s
int main(int argc, char **argv) {
  const int given[] = {%(given)s -1}, wanted[] = {%(wanted)s -1};
  every = aligned_alloc(64, %(total)d), before = aligned_alloc(64, %(total)d);
  memset(every, 255, %(total)d);
  char *b[%(many)d];
  for (int k = 0; k < %(many)d; k++) b[k] = every + place[k];
  FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");
  for (const int *k = given; *k >= 0; k++) if (fread(b[*k], 1, size[*k], in) != (size_t)size[*k]) return 4;
  %(calls)s
  for (const int *k = wanted; *k >= 0; k++) if (fwrite(b[*k], 1, size[*k], out) != (size_t)size[*k]) return 5;
  return fclose(in) | fclose(out);
}
"""
BACKWARDS = """static void backwards(part run, void *const *args, long units, long cost) {
  while (units--) run(args, units, units + 1); }"""


def _arguments(text: str) -> list[str]:
    """The arguments of a call, which commas part."""
    out, depth = [""], 0
    for c in text:
        depth += (c in "([") - (c in ")]")
        if c == "," and not depth:
            out.append("")
        else:
            out[-1] += c
    return out


def _checked(source: str) -> str:
    """The C with a check around every call of a kernel."""
    signatures = dict(re.findall(r"^APART void (k\d+)\((.*)\) \{$", source, re.M))

    def around(m: re.Match[str]) -> str:
        name, args = (m[1], m[2]) if m[1] else (m[3], m[4])
        touched: set[str] = set()
        written: set[str] = set()
        for kind, arg in zip(_arguments(signatures[name]), _arguments(args), strict=False):
            found = re.findall(r"\bb\[(\d+)\]", arg)
            touched.update(found)
            written.update(() if "const" in kind else found)
        table = lambda ks: f"{len(ks)}, (int[]){{{', '.join([*sorted(ks, key=int), '-1'])}}}"
        return f'enter({table(touched)});{m[0]} leave({table(written)}, "{name}");'

    return CALL.sub(around, source)


def source_of(program: Program) -> str:
    """The C of the executable: it reads states and data from its first argument, writes states and results to its second."""
    scope: dict[str, Any] = {}
    exec(program.source, scope)
    text, places, end = scope["C"], [], GAP
    for b in program.buffers:  # the arena first, as it is planned
        places.append(GAP + b.offset)
    end += program.arena_bytes + GAP
    for k, b in enumerate(program.buffers):
        if b.offset < 0:
            places[k], end = end, -(-(end + b.nbytes + GAP) // 64) * 64
    number = {b.name: k for k, b in enumerate(program.buffers)}
    listed = lambda names: "".join(f"{number[n]}, " for n in names)
    calls = re.findall(r"^void (s\d+)\(", text, re.M)
    facts = {
        "places": ", ".join(map(str, places)), "sizes": ", ".join(str(b.nbytes) for b in program.buffers),
        "total": -(-end // 64) * 64, "many": len(program.buffers), "given": listed([*program.states, *program.data]),
        "wanted": listed([*program.states, *program.results]),
        "backwards": BACKWARDS if "(*pool)" in text else "",
        "calls": ("pool = backwards; " if "(*pool)" in text else "") + "".join(f"{c}(b); " for c in calls),
    }  # fmt: skip
    last = "typedef i32 mask; typedef vi32 vmask;\n"
    assert last in text
    text = _checked(text.replace(last, last + SEEN, 1))
    assert not calls or "enter(" in text
    return AROUND % facts + text + MAIN % facts


def run(program: Program, given: Sequence[Any], folder: Path, command: Sequence[str], runner: Sequence[str] = ()) -> list[Any]:  # fmt: skip
    """The states and results after a step from these states and data. Raises AssertionError where something is touched that should not be.

    command: a compiler with its flags. runner: what executes for another machine.
    """
    (folder / "alone.c").write_text(source_of(program))
    (folder / "given").write_bytes(b"".join(np.ascontiguousarray(a).tobytes() for a in given))
    where = [str(folder / n) for n in ("alone", "given", "made")]
    built = subprocess.run([*command, str(folder / "alone.c"), "-o", where[0], "-lm"], capture_output=True, text=True)  # fmt: skip
    assert built.returncode == 0, built.stderr[:4000]
    done = subprocess.run([*runner, *where], capture_output=True, text=True, env={"ASAN_OPTIONS": "detect_leaks=0"})  # fmt: skip
    assert done.returncode == 0, done.stderr[:8000]
    body, out, at = (folder / "made").read_bytes(), [], 0
    for name in (*program.states, *program.results):
        b = next(b for b in program.buffers if b.name == name)
        found = np.frombuffer(body, NUMPY[b.dtype], count=int(np.prod(b.shape)), offset=at)
        out.append(found.reshape(b.shape))
        at += b.nbytes
    assert at == len(body)
    return out
