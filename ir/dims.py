"""Dimensions: an int, or a polynomial over names (`N*T + 1`) with floor division as an atom.

Holds canonical, interned arithmetic, so that two equal dimensions are one object. Refuses to hold
anything about shapes or types (`ir.types`), and any inequality: what a name may be is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, TypeAlias

Atom: TypeAlias = "str | tuple[str, DimLike, DimLike]"  # a name, or ("//", numerator, divisor)
Monomial: TypeAlias = tuple[tuple["Atom", int], ...]  # atoms with powers, sorted by spelling


class Dim:
    """A polynomial with at least one name in it. Interned: `==` is `is`. Constants are plain ints."""

    __slots__ = ("_terms", "_text", "_hash", "__weakref__")
    _terms: tuple[tuple[Monomial, int], ...]
    _text: str
    _hash: int
    _table: ClassVar[dict[tuple[tuple[Monomial, int], ...], Dim]] = {}

    # what is neither an int nor a dimension (a tensor) has operators of its own: Python asks those next

    def __add__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        return _sum(_terms(self), _terms(other))

    __radd__ = __add__

    def __neg__(self) -> DimLike:
        return _make((m, -c) for m, c in self._terms)

    def __sub__(self, other: DimLike) -> DimLike:
        return self + -other

    def __rsub__(self, other: DimLike) -> DimLike:
        return -self + other

    def __mul__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        out: dict[Monomial, int] = {}
        for m1, c1 in self._terms:
            for m2, c2 in _terms(other):
                m = _times(m1, m2)
                out[m] = out.get(m, 0) + c1 * c2
        return _make(out.items())

    __rmul__ = __mul__

    def __floordiv__(self, other: DimLike) -> DimLike:
        if not isinstance(other, (int, Dim)):
            return NotImplemented
        return _floordiv(self, other)

    def __rfloordiv__(self, other: DimLike) -> DimLike:
        return _floordiv(other, self)

    def __bool__(self) -> bool:
        raise TypeError(
            f"the dimension {self} is not known until it is bound; it has no truth value"
        )

    def __index__(self) -> int:
        raise TypeError(f"the dimension {self} is not known until it is bound; it is not an int")

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return self._text


DimLike: TypeAlias = "int | Dim"


def dim(name: str) -> Dim:
    """The dimension called `name`."""
    d = _make([(((name, 1),), 1)])
    assert isinstance(d, Dim)
    return d


def product(dims: Iterable[DimLike]) -> DimLike:
    """The product of dimensions; 1 for none."""
    out: DimLike = 1
    for d in dims:
        out = out * d
    return out


def names(d: DimLike) -> frozenset[str]:
    """The names that occur in `d`."""
    if isinstance(d, int):
        return frozenset()
    found: set[str] = set()
    for m, _ in d._terms:
        for atom, _ in m:
            if isinstance(atom, str):
                found.add(atom)
            else:
                found |= names(atom[1]) | names(atom[2])
    return frozenset(found)


def bind(d: DimLike, env: Mapping[str, DimLike]) -> DimLike:
    """`d` with names replaced by what `env` gives; names it lacks stay."""
    if isinstance(d, int):
        return d
    total: DimLike = 0
    for m, c in d._terms:
        part: DimLike = c
        for atom, power in m:
            if isinstance(atom, str):
                value: DimLike = env.get(atom, dim(atom))
            else:
                value = _floordiv(bind(atom[1], env), bind(atom[2], env))
            for _ in range(power):
                part = part * value
        total = total + part
    return total


def divide(a: DimLike, b: DimLike) -> DimLike | None:
    """The exact quotient a / b, or None where `b` does not divide `a` as polynomials."""
    if isinstance(b, int):
        if b == 0:
            return None
        if isinstance(a, int):
            return a // b if a % b == 0 else None
        if any(c % b for _, c in a._terms):
            return None
        return _make((m, c // b) for m, c in a._terms)
    if a is b:
        return 1
    if isinstance(a, int):
        return 0 if a == 0 else None
    if len(b._terms) != 1:
        # only the multiples of a whole polynomial are seen: k * b
        k = _lead(a)[1] // _lead(b)[1]
        return k if a == b * k else None
    (mb, cb) = b._terms[0]
    out: list[tuple[Monomial, int]] = []
    for m, c in a._terms:
        powers = dict(m)
        for atom, p in mb:
            powers[atom] = powers.get(atom, 0) - p
        if c % cb or any(p < 0 for p in powers.values()):
            return None
        out.append((tuple((x, powers[x]) for x, _ in m if powers[x]), c // cb))
    return _make(out)


def _lead(d: Dim) -> tuple[Monomial, int]:
    return d._terms[-1]


def _floordiv(a: DimLike, b: DimLike) -> DimLike:
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    exact = divide(a, b)
    if exact is not None:
        return exact
    if isinstance(a, Dim) and isinstance(b, int) and b > 0:
        # pull out what divides: (2*N + 3) // 2 == N + 1 + 1 // 2
        whole = [(m, c // b) for m, c in a._terms if c % b == 0 or not m]
        rest = [(m, c % b if not m else c) for m, c in a._terms if c % b or not m]
        remainder = _make(rest)
        if any(m for m, _ in rest):
            return _sum(tuple((m, c) for m, c in whole if c), _atom(("//", remainder, b)))
        assert isinstance(remainder, int)
        return _make([*whole, ((), remainder // b)])
    return _make(_atom(("//", a, b)))


def _atom(atom: Atom) -> tuple[tuple[Monomial, int], ...]:
    return ((((atom, 1),), 1),)


def _terms(d: DimLike) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(d, int):
        return (((), int(d)),) if d else ()
    return d._terms


def _sum(*parts: tuple[tuple[Monomial, int], ...]) -> DimLike:
    return _make(t for part in parts for t in part)


def _times(a: Monomial, b: Monomial) -> Monomial:
    powers = dict(a)
    for atom, p in b:
        powers[atom] = powers.get(atom, 0) + p
    return tuple(sorted(powers.items(), key=lambda t: _spell_atom(t[0])))


def _make(terms: Iterable[tuple[Monomial, int]]) -> DimLike:
    total: dict[Monomial, int] = {}
    for m, c in terms:
        total[m] = total.get(m, 0) + c
    kept = tuple(sorted(((m, c) for m, c in total.items() if c), key=_order))
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    found = Dim._table.get(kept)
    if found is None:
        found = object.__new__(Dim)
        found._terms, found._text, found._hash = kept, _spell(kept), hash(kept)
        Dim._table[kept] = found
    return found


def _order(term: tuple[Monomial, int]) -> tuple[int, str]:
    m, _ = term
    return (0 if m else 1, "*".join(_spell_atom(a) + "^" + str(p) for a, p in m))


def _spell_atom(atom: Atom) -> str:
    if isinstance(atom, str):
        return atom
    _, a, b = atom
    return f"({_group(a)}//{_group(b)})"


def _group(d: DimLike) -> str:
    text = str(d)
    return text if text.isidentifier() or text.isdigit() else f"({text})"


def _spell(terms: tuple[tuple[Monomial, int], ...]) -> str:
    out = ""
    for m, c in terms:
        factors = [_spell_atom(a) for a, p in m for _ in range(p)]
        if not factors or abs(c) != 1:
            factors.append(str(abs(c)))
        sign = ("-" if c < 0 else "") if not out else (" - " if c < 0 else " + ")
        out += sign + "*".join(factors)
    return out
