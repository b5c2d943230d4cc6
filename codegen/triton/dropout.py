"""Dropout of an attention's probabilities: found in a graph between softmax and weighted sum, and written for a tile of them.

Which are kept is drawn anew wherever it is needed, forward and back, from the same counters; no mask is in memory. Refuses to know
what else a kernel does with a tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ir.graph import Node, Value


@dataclass(frozen=True)
class Dropout:
    """Kept, times `scale`, is what has word - low < high (u32, around zero). keep: the condition; seed, step, stream: its key."""

    keep: Value
    seed: Value
    step: Value
    stream: int
    low: int
    high: int
    scale: float

    def behind(self, v: Value) -> tuple[Value, list[Node]] | None:
        """What `v` is the dropout's gradient of, and the nodes that make it so; None where it is not."""
        mul = v.node
        scaled = None if mul is None else by_number(mul, None)
        if mul is None or scaled is None or scaled[1] != self.scale:
            return None
        chosen = scaled[0].node
        if chosen is None or chosen.op.name != "select" or chosen.inputs[0] is not self.keep:
            return None
        return (chosen.inputs[1], [mul, chosen]) if number(chosen.inputs[2]) == 0 else None

    def key(self, seed: str, step: str) -> str:
        """The key of the words, given the texts of seed and step."""
        low = f"({seed}.to(tl.uint32) + tl.full((), {self.stream * 0x9E3779B9 & 0xFFFFFFFF}, tl.uint32))"
        return f"({step}.to(tl.uint64) << 32) | {low}.to(tl.uint64)"

    def lines(
        self, score: Sequence[int], t: int, s: int, dims: str, rows: int, columns: int, first: str
    ) -> Iterator[str]:
        """The lines that write `kept`, a tile of conditions along `dims` ("ts" or "st"), from key, t and s (positions), and n0, n1,
        .. (positions along the other axes of the scores). rows, columns: of the tile as "ts". first: where s begins."""
        fours = s == len(score) - 1 and score[s] % 4 == 0
        terms, stride = [], 1
        for i in reversed(range(len(score))):
            if i != s:
                index = "t.to(tl.int64)[:, None]" if i == t else f"n{i}"
                terms.append(f"{index} * {stride // 4 if fours else stride}")
            elif not fours:
                terms.append(f"s.to(tl.int64)[None, :] * {stride}")
            stride *= score[i]
        if fours:
            terms.append(f"({first} // 4 + tl.arange(0, {columns // 4}))[None, :]")
        yield f"at = {' + '.join(terms)}"
        yield f"w0, w1, w2, w3 = tl.randint4x(key, {'at' if fours else '(at // 4)'}.to(tl.uint32))"
        if fours:
            yield f"words = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), ({rows}, {columns}))"
        else:
            yield "words = tl.where(at % 4 < 2, tl.where(at % 4 == 0, w0, w1), tl.where(at % 4 == 2, w2, w3))"
        limits = (f"tl.full((), {n}, tl.uint32)" for n in (self.low, self.high))
        test = "words.to(tl.uint32, bitcast=True) - {} < {}".format(*limits)
        yield f"kept = {test}" if dims == "ts" else f"kept = tl.trans({test})"


def dropout_of(
    p: Value, users: Mapping[Value, Sequence[Node]]
) -> tuple[Dropout, Value, list[Node]] | None:
    """The dropout that `p` goes through, what comes out, and the nodes that do it; None where there is none."""
    for mul in users.get(p, ()):
        scaled = by_number(mul, p)
        readers = users.get(mul.outs[0], ())
        if scaled is None or len(readers) != 1 or readers[0].op.name != "select":
            continue
        (chosen,) = readers
        keep, kept, zero = chosen.inputs
        key = _key(keep)
        if kept is mul.outs[0] and number(zero) == 0 and key is not None:
            bits, low, high = key
            if bits.outs[0].shape != p.shape:
                return None
            made = Dropout(
                keep, bits.inputs[0], bits.inputs[1], bits.attr("stream"), low, high, scaled[1]
            )
            return made, chosen.outs[0], [mul, chosen]
    return None


def by_number(mul: Node, p: Value | None) -> tuple[Value, float] | None:
    """The operand of a product with a number (`p`, where given), and the number; a quotient is one with its inverse."""
    if mul.op.name == "div" and p in (None, mul.inputs[0]):
        divisor = number(mul.inputs[1])
        return (mul.inputs[0], 1 / divisor) if divisor else None
    if mul.op.name == "mul":
        for v, other in (mul.inputs, mul.inputs[::-1]):
            factor = number(other)
            if factor is not None and p in (None, v):
                return v, factor
    return None


def number(v: Value) -> float | None:
    """The number that a value is everywhere; None where it is not known to be one."""
    return float(v.node.attrs[0]) if v.node is not None and v.node.op.name == "full" else None


def _key(keep: Value) -> tuple[Node, int, int] | None:
    """Of `bits - low < high`: the node of the bits, and both numbers."""
    test = keep.node
    if test is None or test.op.name != "lt" or (high := number(test.inputs[1])) is None:
        return None
    moved = test.inputs[0].node
    low = 0.0
    if moved is not None and moved.op.name == "sub":
        found = number(moved.inputs[1])
        if found is None:
            return None
        low, moved = found, moved.inputs[0].node
    if moved is None or moved.op.name != "random_bits":
        return None
    return moved, int(low), int(high)
