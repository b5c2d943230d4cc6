"""C text: functions of numbers, in lanes.

Those of f32 are our own. The errors that `tests/codegen/test_native.py` allows them, in units of the last place: sqrt 1, exp,
log and rsqrt 2, log1p 3, sigmoid 4, tanh 5, erf 8; infinities and NaN come where the exact results have them. Rarer ones and
those of f64 call the standard library lane by lane. Also the random words. Refuses to hold loops over arrays.
"""

from __future__ import annotations

from collections.abc import Iterator

# lane by lane: name, type, how it is spelled for one
EACH = """
INLINE {t} {name}_{t}({t} x) {{ return {one}(x); }}
INLINE v{t} {name}_v{t}(v{t} x) {{ v{t} r; for (int k = 0; k < W; k++) r[k] = {one}(x[k]); return r; }}
"""
TWO = """
INLINE {t} {name}_{t}({t} x, {t} y) {{ return {one}(x, y); }}
INLINE v{t} {name}_v{t}(v{t} x, v{t} y) {{ v{t} r; for (int k = 0; k < W; k++) r[k] = {one}(x[k], y[k]); return r; }}
"""
LIBRARY = {
    "floor": "floor", "ceil": "ceil", "round_even": "rint", "sqrt": "sqrt", "absolute": "fabs", "expm1": "expm1",
    "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh",
    "cosh": "cosh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh",
}  # fmt: skip
LIBRARY_F64 = {"exp": "exp", "log": "log", "log1p": "log1p", "tanh": "tanh", "erf": "erf"}

INTEGERS = """
INLINE @ sign_one_@(@ x) { return (@)((x > 0) - (x < 0)); }
INLINE int before_@(@ a, @ b) { return a < b; }
INLINE @ abs_one_@(@ x) { return x < 0 ? -x : x; }
INLINE @ mod_one_@(@ x, @ y) {
  if (y == 0 || y == (@)-1) return y == 0 || (@)-1 < 0 ? 0 : x % y;
  @ m = x % y; return m != 0 && (m < 0) != (y < 0) ? m + y : m;
}
INLINE @ floordiv_one_@(@ x, @ y) {
  if (y == 0) return 0;
  if ((@)-1 < 0 && y == (@)-1) return -x;
  @ q = x / y; return x % y != 0 && (x < 0) != (y < 0) ? q - 1 : q;
}
INLINE @ power_one_@(@ x, @ y) {
  if (y < 0) return x == 1 ? 1 : x == (@)-1 ? (y & 1 ? x : 1) : 0;
  @ r = 1; while (y) { if (y & 1) r *= x; x *= x; y >>= 1; } return r;
}
"""
# % is the suffix of the library's functions
FLOATS = """
INLINE @ sign_one_@(@ x) { return x != x ? x : (@)((x > 0) - (x < 0)); }
INLINE int before_@(@ a, @ b) { return (a < b) | ((b != b) & (a == a)); }  // in the order of sorting: NaN last
INLINE @ mod_one_@(@ x, @ y) {
  @ m = __builtin_fmod%(x, y);
  if (y == 0) return m;
  return m == 0 ? __builtin_copysign%((@)0, y) : (y < 0) != (m < 0) ? m + y : m;
}
INLINE @ floordiv_one_@(@ x, @ y) {
  if (y == 0) return x / y;
  @ m = __builtin_fmod%(x, y), d = (x - m) / y; if (m != 0 && (y < 0) != (m < 0)) d -= 1;
  if (d == 0) return __builtin_copysign%((@)0, x / y);
  @ f = __builtin_floor%(d); return d - f > (@)0.5 ? f + 1 : f;
}
INLINE @ rsqrt_@(@ x) { return 1 / sqrt_@(x); }
INLINE v@ rsqrt_v@(v@ x) { return 1 / sqrt_v@(x); }
INLINE vmask is_finite_v@(v@ x) { return narrow_@((v$)(x - x == x - x)); }
INLINE vmask is_nan_v@(v@ x) { return narrow_@((v$)(x != x)); }
INLINE mask is_finite_@(@ x) { return -(x - x == x - x); }
INLINE mask is_nan_@(@ x) { return -(x != x); }
"""

F32 = r"""
// e**x: 2**n * e**r with |r| <= ln(2)/2; the power of two in two factors, so that small results round once
#if W == 16
INLINE vf32 times_power_vf32(vf32 x, vf32 n) { return __builtin_ia32_scalefps512_mask(x, n, x, -1, 4); }
#else
INLINE vf32 times_power_vf32(vf32 x, vf32 n) {
  vi32 k = __builtin_convertvector(n, vi32), a = k >> 1, b = k - a;
  return x * (vf32)((a + 127) << 23) * (vf32)((b + 127) << 23);
}
#endif
// e^x where that is finite
INLINE vf32 exp_low_vf32(vf32 x) {
  vf32 z = larger_f32(x, splat_f32(-104.5f));
  vf32 t = z * 1.44269504088896341f + 12582912.0f, n = t - 12582912.0f;
  vf32 r = z - n * 0.693145751953125f; r = r - n * 1.428606765330187e-6f;
  vf32 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f; p = p * r + 4.1665795894e-2f; p = p * r + 1.6666665459e-1f; p = p * r + 5.0000001201e-1f;
  return times_power_vf32(p * (r * r) + r + 1.0f, n);
}
INLINE vf32 exp_vf32(vf32 x) { return exp_low_vf32(smaller_f32(x, splat_f32(89.0f))); }
// ln x: x = 2**k * m, m in [sqrt(1/2), sqrt(2))
INLINE vf32 log_vf32(vf32 x) {
  vmask tiny = x < 1.17549435e-38f;
  vf32 y = select_vf32(tiny, x * 8388608.0f, x);
  vi32 bits = (vi32)y, up = bits - 0x3F3504F3;
  vi32 k = up >> 23; vf32 m = (vf32)((up & 0x7FFFFF) + 0x3F3504F3) - 1.0f;
  vf32 e = __builtin_convertvector(k - (tiny & 23), vf32), z = m * m;
  vf32 p = m * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * m + 1.1676998740e-1f; p = p * m - 1.2420140846e-1f; p = p * m + 1.4249322787e-1f; p = p * m - 1.6668057665e-1f;
  p = p * m + 2.0000714765e-1f; p = p * m - 2.4999993993e-1f; p = p * m + 3.3333331174e-1f;
  p = p * m * z + e * -2.12194440e-4f - 0.5f * z;
  vf32 r = m + p + e * 0.693359375f;
  r = select_vf32((x == splat_f32(INFINITY)) | (x != x), x, r);
  r = select_vf32(x == 0.0f, splat_f32(-INFINITY), r);
  return select_vf32(x < 0.0f, splat_f32(NAN), r);
}
INLINE vf32 log1p_vf32(vf32 x) {  // the rounding of 1 + x is put right to first order
  vf32 u = 1.0f + x, r = log_vf32(u) - ((u - 1.0f) - x) / u;
  r = select_vf32(u == splat_f32(INFINITY), u, r);
  r = select_vf32(u == 0.0f, splat_f32(-INFINITY), r);
  return select_vf32(u == 1.0f, x, r);
}
INLINE vf32 abs_vf32(vf32 x) { return (vf32)((vi32)x & 0x7FFFFFFF); }
INLINE vf32 signed_vf32(vf32 x, vf32 s) { return (vf32)((vi32)x | ((vi32)s & (vi32)splat_u32(0x80000000u))); }
INLINE vf32 tanh_vf32(vf32 x) {  // x P(x^2) / Q(x^2) up to 9.01, where f32 cannot tell it from 1 any more
  vf32 c = larger_f32(smaller_f32(x, splat_f32(9.01f)), splat_f32(-9.01f));
  vf32 z = c * c;
  vf32 p = z * 1.3402060168005753e-08f + 2.0648554922309475e-05f; p = p * z + 3.4982279967436256e-03f;
  p = p * z + 1.338333481852486e-01f; p = p * z + 1.0f;
  vf32 q = z * 7.797493789446672e-07f + 3.2897794459196307e-04f; q = q * z + 2.5887288253784318e-02f;
  q = q * z + 4.6716656185207145e-01f; q = q * z + 1.0f;
  vf32 r = c * p / q;
  return larger_f32(smaller_f32(r, splat_f32(1.0f)), splat_f32(-1.0f));
}
INLINE vf32 sigmoid_vf32(vf32 x) {
  vf32 e = exp_low_vf32(-abs_vf32(x)); return select_vf32(x >= 0.0f, splat_f32(1.0f), e) / (1.0f + e);
}
INLINE vf32 erf_vf32(vf32 x) {  // x P(x^2) / Q(x^2) up to 3.92, where f32 cannot tell it from 1 any more
  vf32 c = larger_f32(smaller_f32(x, splat_f32(3.92f)), splat_f32(-3.92f));
  vf32 z = c * c;
  vf32 p = z * 2.050084443625582e-06f + 2.8488376231385743e-04f; p = p * z + 3.7656522081278517e-03f;
  p = p * z + 5.2748833068882575e-02f; p = p * z + 1.9040725454505478e-01f; p = p * z + 1.128379146130805f;
  vf32 q = z * 3.80917398350826e-05f + 1.16254450765222e-03f; q = q * z + 1.4969287116429284e-02f;
  q = q * z + 1.1410944258430183e-01f; q = q * z + 5.020767765120641e-01f; q = q * z + 1.0f;
  vf32 r = c * p / q;
  return larger_f32(smaller_f32(r, splat_f32(1.0f)), splat_f32(-1.0f));
}
INLINE f64 sigmoid_one_f64(f64 x) { f64 e = __builtin_exp(-__builtin_fabs(x)); return (x >= 0 ? 1 : e) / (1 + e); }
INLINE vf32 uniform_vf32(vu32 w) { vi32 i = (vi32)w; i ^= i >> 31; return __builtin_convertvector(i, vf32) * 4.6566127342e-10f; }
INLINE f32 uniform_f32(u32 w) { return uniform_vf32(splat_u32(w))[0]; }
"""
LANES_FIRST = ("exp", "log", "log1p", "tanh", "sigmoid", "erf")  # of f32: one number is lane 0

# Philox 4x32-10 (Salmon et al., SC 2011)
PHILOX = r"""
INLINE vu32 high_words(vu32 a, u32 m) {  // of the products with m
#if W == 16 && !defined(__clang__)
  typedef i64 pair __attribute__((vector_size(64)));
  pair even = __builtin_ia32_pmuludq512_mask((vi32)a, (vi32)splat_u32(m), (pair){0}, 255);
  pair odd = __builtin_ia32_pmuludq512_mask((vi32)((pair)a >> 32), (vi32)splat_u32(m), (pair){0}, 255);
  return (vu32)select_vi32((vi32)(pair){-1LL << 32, -1LL << 32, -1LL << 32, -1LL << 32, -1LL << 32, -1LL << 32, -1LL << 32,
    -1LL << 32}, (vi32)odd, (vi32)((pair)even >> 32 & 0xFFFFFFFFLL));
#else
  return __builtin_convertvector((__builtin_convertvector(a, vu64) * (u64)m) >> 32, vu32);
#endif
}
INLINE void four_words(u32 *out, vu32 a, vu32 b, vu32 c, vu32 d) {
#if W == 16
  vu32 p = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  vu32 r = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  vu32 q = __builtin_shufflevector(c, d, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  vu32 s = __builtin_shufflevector(c, d, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  stw_u32(out, __builtin_shufflevector(p, q, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
  stw_u32(out + 16, __builtin_shufflevector(p, q, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31));
  stw_u32(out + 32, __builtin_shufflevector(r, s, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
  stw_u32(out + 48, __builtin_shufflevector(r, s, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31));
#else
  for (int k = 0; k < W; k++) { out[4 * k] = a[k]; out[4 * k + 1] = b[k]; out[4 * k + 2] = c[k]; out[4 * k + 3] = d[k]; }
#endif
}
// words at .. n-1 of the counters 0, 1, 2, ... under one key; at: a multiple of 4 W
APART void philox(u32 k0, u32 k1, u32 *out, long at, long n) {
  const vu32 count = COUNT;
  for (; at < n; at += 4 * W) {
    vu32 a = splat_u32((u32)(at / 4)) + count, b = {0}, c = {0}, d = {0};
    u32 x = k0, y = k1;
    for (int round = 0; round < 10; round++) {
      vu32 na = high_words(c, 0xCD9E8D57u) ^ b ^ x, nc = high_words(a, 0xD2511F53u) ^ d ^ y;
      b = c * 0xCD9E8D57u; d = a * 0xD2511F53u; a = na; c = nc;
      x += 0x9E3779B9u; y += 0xBB67AE85u;
    }
    if (n - at >= 4 * W) four_words(out + at, a, b, c, d);
    else { u32 words[4 * W]; four_words(words, a, b, c, d); memcpy(out + at, words, sizeof(u32) * (n - at)); }
  }
}
"""


def texts() -> Iterator[tuple[str, tuple[str, ...]]]:
    """(text, the types it is for), what is used before what uses it."""
    ints = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
    floats = (("f32", "f"), ("f64", ""))
    for t, suffix in floats:
        for name, one in LIBRARY.items():
            yield EACH.format(name=name, t=t, one=f"__builtin_{one}{suffix}"), ()
        for name, one in (("power", "pow"), ("atan2", "atan2")):
            yield TWO.format(name=name, t=t, one=f"__builtin_{one}{suffix}"), ()
        yield FLOATS.replace("%", suffix), (t,)
    for name, one in LIBRARY_F64.items():
        yield EACH.format(name=name, t="f64", one=f"__builtin_{one}"), ()
    yield F32, ()
    yield EACH.format(name="sigmoid", t="f64", one="sigmoid_one_f64"), ()
    for name in LANES_FIRST:
        yield f"INLINE f32 {name}_f32(f32 x) {{ return {name}_vf32(splat_f32(x))[0]; }}\n", ()
    yield INTEGERS, ints
    for t in (*ints, "f32", "f64"):
        yield EACH.format(name="sign", t=t, one=f"sign_one_{t}"), ()
        for name in ("mod", "floordiv", "power"):
            if t in ints or name != "power":
                yield TWO.format(name=name, t=t, one=f"{name}_one_{t}"), ()
        if t in ints:
            yield EACH.format(name="absolute", t=t, one=f"abs_one_{t}"), ()
    yield PHILOX, ()
