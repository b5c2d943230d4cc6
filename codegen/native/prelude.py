"""The C text that a native program begins with: of all pieces, those its functions use.

A piece is a C function (or `#if .. #endif` around spellings of it, with the comment before it) that starts at the
beginning of a line; in the texts, @ stands for each type and $ for the signed integer of its width. A compiler reads
every line it is given, so a program gets no other. Refuses to hold the pieces (`lanes`, `functions`, and the files of the kernels).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from codegen.native import functions, lanes

INTS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
FLOATS = ("f32", "f64")
_LINE = re.compile(r"\n(?=#if |//|#define |typedef |INLINE |APART )")
_NAME = re.compile(r"^(?:INLINE|APART) [^(]*?(\w+)\(|^#define (\w+)|^typedef .*?(\w+)(?: __attribute__.*)?;", re.M)  # fmt: skip
_WORD = re.compile(r"[A-Za-z_]\w*")


def prelude(body: str, texts: Sequence[str] = ()) -> list[str]:
    """The lines that the functions in `body` need before them.

    texts: more pieces, for every type where @ is in them.
    """
    pieces, names, uses = _library(tuple(texts))
    out: list[str] = []
    done: set[int] = set()

    def need(k: int) -> None:
        if k in done:
            return
        done.add(k)
        if k not in uses:
            found = dict.fromkeys(names[w] for w in _WORD.findall(pieces[k]) if w in names)
            uses[k] = [j for j in found if j != k]
        for j in uses[k]:
            need(j)
        out.extend(pieces[k].splitlines())

    for word in dict.fromkeys(_WORD.findall(body)):
        if word in names:
            need(names[word])
    return [*lanes.HEAD.splitlines(), *out]


@functools.cache
def _library(texts: tuple[str, ...]) -> tuple[list[str], dict[str, int], dict[int, list[int]]]:
    """Every piece, the piece of each name, and (to be filled) the pieces that a piece uses."""
    pieces = [
        *_pieces(lanes.ALL, (*INTS, *FLOATS)),
        *_pieces(lanes.INT_EXTREMES, INTS),
        *_pieces(lanes.FLOAT_EXTREMES, FLOATS),
        *_pieces(lanes.NARROW, ("i8", "i16", "i64", "u8", "u16", "u64", "f64")),
        *_pieces(lanes.WIDE, ("i32", "u32", "f32")),
        *_pieces(lanes.MASKS),
        *_pieces(lanes.FOLD),
        *_pieces(lanes.LARGER),
        *_pieces(lanes.HALVES),
    ]
    for text, types in functions.texts():
        pieces += _pieces(text, types)
    for text in texts:
        pieces += _pieces(text, (*INTS, *FLOATS) if "@" in text else ())
    return pieces, {n: k for k, p in enumerate(pieces) for n in _names(p)}, {}


def _names(piece: str) -> list[str]:
    return [n for found in _NAME.findall(piece) for n in found if n]


def _pieces(text: str, types: Sequence[str] = ()) -> list[str]:
    """The pieces of a text, for each of the types it is for."""
    if types:
        return [p for t in types for p in _pieces(text.replace("@", t).replace("$", f"i{t[1:]}"))]
    out: list[str] = []
    open_ = False
    for part in _LINE.split(text):
        if open_:
            out[-1] += "\n" + part
        else:
            out.append(part)
        last = out[-1]
        open_ = (
            last.count("#if ") != last.count("#endif")
            or last.count("{") != last.count("}")
            or last.rpartition("\n")[2].startswith("//")
        )
    return [p.strip() for p in out if p.strip()]
