"""Functions that kernels call, where an op is more than an expression: only those that a program needs are in its source.

They mean the same in Triton's interpreter and compiled, where `exp` and `exp2` are within 2 ulp of what they are given (which for
exp has lost |x| / 2**24), `/` of f32 within 2 ulp, `sqrt` and `rsqrt` within 1 (all by CUDA's documentation), `log`, `sin`, `cos`
and `erf` are libdevice's, and a product that is added to something is one `fma`. So nothing here relies on an f32 quotient that is a whole
number, nor on the difference of two equal products. f64 has ways of its own where f32's are too short. Refuses to hold which op
calls what (`spelling`).
"""

from __future__ import annotations

PRELUDE = """
@triton.jit
def _mul(a, b):
    return a * b


@triton.jit
def _higher(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _lower(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _expm1(x):
    e = tl.exp(x)
    if x.dtype == tl.float64:
        other = (e != 1) & (tl.abs(x) < 1)
        near = tl.where(other, (e - 1) * (x / tl.log(tl.where(other, e, 2.0))), x)
        y = tl.where(tl.abs(x) < 1, near, e - 1)
    else:
        near = x * (1 + x * (0.5 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720))))))
        y = tl.where(tl.abs(x) < 0.25, near, e - 1)
    return y


@triton.jit
def _log1p(x):
    u = x + 1
    ratio = tl.where(u == x, 1.0, x / tl.where(u == 1, 1.0, u - 1))
    return tl.where(u == 1, x, tl.log(u) * ratio)


@triton.jit
def _tanh(x):
    s = x * x
    near = x * (1 + s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835)))))
    e = tl.exp(-2 * tl.abs(x))
    far = (1 - e) / (1 + e)
    return tl.where(s < 0.04, near, tl.where(x < 0, -far, far))


@triton.jit
def _long_tanh(x):
    m = _expm1(-2 * tl.abs(x))
    y = -m / (m + 2)
    return tl.where(x < 0, -y, y)


@triton.jit
def _sinh(x):
    a = tl.abs(x)
    half = tl.exp(0.5 * a)
    e = _expm1(tl.minimum(a, 20.0))
    y = tl.where(a < 20, 0.5 * (e + e / (e + 1)), (0.5 * half) * half)
    return tl.where(x < 0, -y, y)


@triton.jit
def _cosh(x):
    half = tl.exp(0.5 * tl.abs(x))
    return (0.5 * half) * half + (0.5 / half) / half


@triton.jit
def _asinh(x):
    a = tl.abs(x)
    s = tl.where(a < 1e9, a, 0.0)
    near = _log1p(s + s * s / (1 + tl.sqrt(s * s + 1)))
    y = tl.where(a < 1e9, near, tl.log(a) + 0.6931471805599453)
    return tl.where(x < 0, -y, y)


@triton.jit
def _acosh(x):
    t = tl.where(x < 1e9, x - 1, 1.0)
    near = _log1p(t + tl.sqrt(t) * tl.sqrt(t + 2))
    return tl.where(x < 1e9, near, tl.log(x) + 0.6931471805599453)


@triton.jit
def _atanh(x):
    a = tl.abs(x)
    y = 0.5 * _log1p(2 * a / (1 - a))
    return tl.where(x < 0, -y, y)


@triton.jit
def _atan(x):
    a = tl.abs(x)
    if x.dtype == tl.float64:
        inverse = a > 1
        t = tl.where(inverse, 1 / tl.where(inverse, a, 1.0), a)
        for _ in range(3):
            t = t / (1 + tl.sqrt(1 + t * t))  # half the angle
        z = t * t
        p = 1 / 9 - z * (1 / 11 - z * (1 / 13 - z * (1 / 15 - z * (1 / 17))))
        p = 1 - z * (1 / 3 - z * (1 / 5 - z * (1 / 7 - z * p)))
        t = 8 * t * p
        y = tl.where(inverse, 1.5707963267948966 - t, t)
    else:
        inverse = a > 2.414213562373095
        middle = (a > 0.4142135623730950) & ~inverse
        t = tl.where(inverse, -1 / tl.where(a == 0, 1.0, a), tl.where(middle, (a - 1) / (a + 1), a))
        z = t * t
        p = t + t * z * (-0.333329491539 + z * (0.199777106478 + z * (-0.138776856032 + z * 0.0805374449538)))
        y = p + tl.where(inverse, 1.5707963267948966, tl.where(middle, 0.7853981633974483, 0.0))
    return tl.where(x < 0, -y, y)


@triton.jit
def _atan2(y, x):
    a = _atan(y / tl.where(x == 0, 1.0, x))
    turned = tl.where(y < 0, a - 3.141592653589793, a + 3.141592653589793)
    right = tl.full((), 1.5707963267948966, x.dtype)
    upright = tl.where(y > 0, right, tl.where(y < 0, -right, y))
    return tl.where(x > 0, a, tl.where(x < 0, turned, tl.where(x == 0, upright, x)))


@triton.jit
def _power(x, y):
    a = tl.abs(x)
    size = tl.exp2(y * tl.log2(tl.where(a == 0, 1.0, a)))
    size = tl.where((a == 1) & (y == y), 1.0, size)
    whole = tl.floor(y) == y
    odd = whole & (tl.floor(y * 0.5) * 2 != y)
    signed = tl.where((x < 0) & odd, -size, size)
    defined = tl.where((x < 0) & ~whole & (a < float("inf")), float("nan"), signed)
    at_zero = tl.where(y > 0, 0.0, tl.where(y < 0, float("inf"), y))
    return tl.where((y == 0) | (x == 1), 1.0, tl.where(a == 0, at_zero, defined))


@triton.jit
def _multiplied(x, y, bits: tl.constexpr):
    total = x * 0 + 1
    power = x
    left = y
    for _ in range(bits):
        total = tl.where(left & 1 != 0, total * power, total)
        power = power * power
        left = left >> 1
    return total


@triton.jit
def _whole_power(x, y, bits: tl.constexpr):
    odd = y & 1 != 0
    turned = tl.where(x == 1, x * 0 + 1, tl.where(x == -1, tl.where(odd, x, x * x), x * 0))
    return tl.where(y < 0, turned, _multiplied(x, y, bits))


@triton.jit
def _floordiv(x, y):
    q = x // y
    r = x - q * y
    return tl.where((r != 0) & ((r < 0) != (y < 0)), q - 1, q)


@triton.jit
def _behind(x, y, near):
    q = tl.floor(near)
    r = tl.where(tl.abs(y) == float("inf"), x, tl.fma(-q, y, x))
    return q, r, (r != 0) & ((r < 0) != (y < 0))


@triton.jit
def _whole(x, y, near):
    q, r, over = _behind(x, y, near)
    return tl.where(over, q - 1, q)


@triton.jit
def _rest(x, y, near):
    q, r, over = _behind(x, y, near)
    return tl.where(over, r + y, r)
"""


def prelude(text: str) -> str:
    """The functions that a program calls, and those that they call."""
    parts = {
        p.split("(")[0]: f"@triton.jit\ndef {p}"
        for p in PRELUDE.strip().split("@triton.jit\ndef ")[1:]
    }
    wanted: dict[str, None] = {}
    todo = [text]
    while todo:
        seen = todo.pop()
        for name, part in parts.items():
            if name not in wanted and (f"{name}(" in seen or f", {name})" in seen):
                wanted[name] = None
                todo.append(part)
    return "".join(f"\n\n{part.rstrip()}\n" for name, part in parts.items() if name in wanted)
