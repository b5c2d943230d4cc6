"""A C source as several that compile side by side.

A function that begins a line with APART goes into one of them, the others get its prototype; what stands before and between
such functions goes into all, what comes after the last into the last alone. Cut at fixed sizes, not by the machine: a function
is compiled alike wherever it stands. Refuses to know what the functions do.
"""

from __future__ import annotations

import re

SIZE = 16000  # characters of functions that are worth a compiler of their own
MOST = 12
_START = re.compile(r"^APART ", re.M)


def split(source: str) -> list[str]:
    """The sources; the first is the largest."""
    found = _functions(source)
    if not found:
        return [source]
    sizes = [end - start for start, end in found]
    n = round(sum(sizes) / SIZE)
    if n > 1:
        n += n % 2  # two cores are the least that most machines have: none waits for an odd part
    n = max(1, min(MOST, len(found), n))
    load = [0] * n
    part = {}
    for k in sorted(range(len(found)), key=lambda k: -sizes[k]):
        part[k] = load.index(min(load))
        load[part[k]] += sizes[k]
    out = []
    for p in range(n):
        text, at = [], 0
        for k, (start, end) in enumerate(found):
            body = source[start:end]
            prototype = f"{body[: body.index('{')].rstrip()};\n"
            text += [source[at:start], body if part[k] == p else prototype]
            at = end
        out.append("".join([*text, source[at:] if p == n - 1 else ""]))
    return out


def _functions(source: str) -> list[tuple[int, int]]:
    """From where to where each function stands: to the end of the line in which its braces close."""
    found: list[tuple[int, int]] = []
    for m in _START.finditer(source):
        depth, end = 0, m.start()
        while depth or end == m.start():
            line = source.index("\n", end) + 1
            depth += source.count("{", end, line) - source.count("}", end, line)
            end = line
        found.append((m.start(), end))
    return found
