"""The C text every native program begins with: vector types, masked loads, and the functions of numbers.

Vectors are GNU vector types of W lanes (the machine's width in f32); a bool is an i32 lane of 0 or -1. Loads and stores
take the number of lanes, so that ragged tails never touch memory outside. Functions of f32 are our own, in lanes. The errors that
`tests/codegen/test_native.py` allows them, in units of the last place: sqrt 1, exp, log and rsqrt 2, log1p 3, tanh and sigmoid 4,
erf 8; infinities and NaN come where the exact results have them. Functions of f64 call the standard library
lane by lane. Refuses to hold loops over arrays.
"""

from __future__ import annotations

PRELUDE = r"""#include <math.h>
#include <string.h>
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define W 16
#elif defined(__AVX__)
#define W 8
#else
#define W 4
#endif

#define INLINE static inline __attribute__((always_inline, unused))
typedef float f32; typedef double f64; typedef unsigned char bool8;
typedef signed char i8; typedef short i16; typedef int i32; typedef long long i64;
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
#define VECTOR(T) typedef T v##T __attribute__((vector_size(W * sizeof(T))));
VECTOR(f32) VECTOR(f64) VECTOR(i8) VECTOR(i16) VECTOR(i32) VECTOR(i64) VECTOR(u8) VECTOR(u16) VECTOR(u32) VECTOR(u64)
typedef i32 mask; typedef vi32 vmask;

// lanes beyond n are zero when loaded and left alone when stored
#define MEMORY(T) \
  INLINE v##T splat_##T(T x) { return x - (v##T){0}; } \
  INLINE v##T ldw_##T(const T *p) { v##T r; memcpy(&r, p, sizeof r); return r; } \
  INLINE void stw_##T(T *p, v##T x) { memcpy(p, &x, sizeof x); } \
  INLINE v##T ldg_##T(const T *p, long s, int n) { v##T r = {0}; for (int k = 0; k < n; k++) r[k] = p[k * s]; return r; } \
  INLINE void stg_##T(T *p, long s, v##T x, int n) { for (int k = 0; k < n; k++) p[k * s] = x[k]; }
#define TAIL(T) \
  INLINE v##T ldn_##T(const T *p, int n) { v##T r = {0}; for (int k = 0; k < n; k++) r[k] = p[k]; return r; } \
  INLINE void stn_##T(T *p, v##T x, int n) { for (int k = 0; k < n; k++) p[k] = x[k]; }
MEMORY(f32) MEMORY(f64) MEMORY(i8) MEMORY(i16) MEMORY(i32) MEMORY(i64) MEMORY(u8) MEMORY(u16) MEMORY(u32) MEMORY(u64)
TAIL(i8) TAIL(i16) TAIL(i64) TAIL(u8) TAIL(u16) TAIL(u64) TAIL(f64)
#if W == 16
#define TAIL16(T, V, M) \
  INLINE v##T ldn_##T(const T *p, int n) { return (v##T)_mm512_maskz_loadu_##M((__mmask16)((1u << n) - 1), p); } \
  INLINE void stn_##T(T *p, v##T x, int n) { _mm512_mask_storeu_##M(p, (__mmask16)((1u << n) - 1), (V)x); }
TAIL16(f32, __m512, ps) TAIL16(i32, __m512i, epi32) TAIL16(u32, __m512i, epi32)
#else
TAIL(f32) TAIL(i32) TAIL(u32)
#endif
#define LOADS(T) \
  INLINE v##T ld_##T(const T *p, int n) { return n == W ? ldw_##T(p) : ldn_##T(p, n); } \
  INLINE void st_##T(T *p, v##T x, int n) { if (n == W) stw_##T(p, x); else stn_##T(p, x, n); }
LOADS(f32) LOADS(f64) LOADS(i8) LOADS(i16) LOADS(i32) LOADS(i64) LOADS(u8) LOADS(u16) LOADS(u32) LOADS(u64)
INLINE vmask tomask(vu8 x) { return __builtin_convertvector(x, vi32) != 0; }
INLINE vu8 tobytes(vmask x) { return __builtin_convertvector(-x, vu8); }
INLINE vmask splat_mask(mask x) { return splat_i32(x); }
INLINE vmask lanes(int n) { vmask r; for (int k = 0; k < W; k++) r[k] = k < n ? -1 : 0; return r; }
INLINE vi64 ramp(i64 base, i64 step) { vi64 r; for (int k = 0; k < W; k++) r[k] = base + k * step; return r; }

// choice, extremes, comparison: M is the integer type of the same width
#define CHOICE(T, M) \
  INLINE v##T select_v##T(vmask m, v##T a, v##T b) { \
    v##M w = __builtin_convertvector(m, v##M); return (v##T)((w & (v##M)a) | (~w & (v##M)b)); } \
  INLINE T select_##T(mask m, T a, T b) { return m ? a : b; } \
  INLINE vmask narrow_##T(v##M m) { return __builtin_convertvector(m, vmask); } \
  INLINE v##T maximum_v##T(v##T a, v##T b) { return select_v##T(narrow_##T((v##M)(a > b) | (v##M)(a != a)), a, b); } \
  INLINE v##T minimum_v##T(v##T a, v##T b) { return select_v##T(narrow_##T((v##M)(a < b) | (v##M)(a != a)), a, b); } \
  INLINE T maximum_##T(T a, T b) { return (a > b) | (a != a) ? a : b; } \
  INLINE T minimum_##T(T a, T b) { return (a < b) | (a != a) ? a : b; } \
  INLINE v##T sum_v##T(v##T a, v##T b) { return a + b; } \
  INLINE v##T prod_v##T(v##T a, v##T b) { return a * b; } \
  INLINE T sum_##T(T a, T b) { return a + b; } \
  INLINE T prod_##T(T a, T b) { return a * b; } \
  INLINE T whole_sum_##T(v##T x) { for (int h = W / 2; h; h /= 2) for (int k = 0; k < h; k++) x[k] += x[k + h]; return x[0]; } \
  INLINE T whole_prod_##T(v##T x) { T r = x[0]; for (int k = 1; k < W; k++) r *= x[k]; return r; } \
  INLINE T whole_max_##T(v##T x) { T r = x[0]; for (int k = 1; k < W; k++) r = maximum_##T(r, x[k]); return r; } \
  INLINE T whole_min_##T(v##T x) { T r = x[0]; for (int k = 1; k < W; k++) r = minimum_##T(r, x[k]); return r; }
CHOICE(f32, i32) CHOICE(f64, i64) CHOICE(i8, i8) CHOICE(i16, i16) CHOICE(i32, i32) CHOICE(i64, i64)
CHOICE(u8, i8) CHOICE(u16, i16) CHOICE(u32, i32) CHOICE(u64, i64)
INLINE vmask select_vmask(vmask m, vmask a, vmask b) { return (m & a) | (~m & b); }
INLINE mask select_mask(mask m, mask a, mask b) { return m ? a : b; }
INLINE mask whole_max_mask(vmask x) { mask r = 0; for (int k = 0; k < W; k++) r |= x[k]; return r; }
INLINE mask whole_min_mask(vmask x) { mask r = -1; for (int k = 0; k < W; k++) r &= x[k]; return r; }

// lane by lane through the standard library
#define EACH(NAME, T, F) \
  INLINE T NAME##_##T(T x) { return F(x); } \
  INLINE v##T NAME##_v##T(v##T x) { v##T r; for (int k = 0; k < W; k++) r[k] = F(x[k]); return r; }
#define BOTH(NAME, F) EACH(NAME, f32, F##f) EACH(NAME, f64, F)
BOTH(floor, __builtin_floor) BOTH(ceil, __builtin_ceil) BOTH(round_even, __builtin_rint) BOTH(sqrt, __builtin_sqrt)
BOTH(expm1, expm1) BOTH(sin, sin) BOTH(cos, cos) BOTH(tan, tan) BOTH(asin, asin) BOTH(acos, acos) BOTH(atan, atan)
BOTH(sinh, sinh) BOTH(cosh, cosh) BOTH(asinh, asinh) BOTH(acosh, acosh) BOTH(atanh, atanh)
EACH(exp, f64, exp) EACH(log, f64, log) EACH(log1p, f64, log1p) EACH(tanh, f64, tanh) EACH(erf, f64, erf)
BOTH(absolute, __builtin_fabs)
#define SIGN(T) \
  INLINE T sign_one_##T(T x) { return x != x ? x : (T)((x > 0) - (x < 0)); } EACH(sign, T, sign_one_##T)
SIGN(f32) SIGN(f64) SIGN(i8) SIGN(i16) SIGN(i32) SIGN(i64) SIGN(u8) SIGN(u16) SIGN(u32) SIGN(u64)
#define INT_ABS(T) INLINE T abs_one_##T(T x) { return x < 0 ? -x : x; } EACH(absolute, T, abs_one_##T)
INT_ABS(i8) INT_ABS(i16) INT_ABS(i32) INT_ABS(i64) INT_ABS(u8) INT_ABS(u16) INT_ABS(u32) INT_ABS(u64)
#define TWO(NAME, T, F) \
  INLINE T NAME##_##T(T x, T y) { return F(x, y); } \
  INLINE v##T NAME##_v##T(v##T x, v##T y) { v##T r; for (int k = 0; k < W; k++) r[k] = F(x[k], y[k]); return r; }
TWO(power, f32, powf) TWO(power, f64, pow) TWO(atan2, f32, atan2f) TWO(atan2, f64, atan2)
#define FLOAT_MOD(T, FMOD, FLOOR, COPYSIGN) \
  INLINE T mod_one_##T(T x, T y) { \
    T m = FMOD(x, y); if (y == 0) return m; if (m != 0) return (y < 0) != (m < 0) ? m + y : m; return COPYSIGN((T)0, y); } \
  INLINE T floordiv_one_##T(T x, T y) { \
    if (y == 0) return x / y; \
    T m = FMOD(x, y), d = (x - m) / y; if (m != 0 && (y < 0) != (m < 0)) d -= 1; \
    if (d == 0) return COPYSIGN((T)0, x / y); T f = FLOOR(d); return d - f > (T)0.5 ? f + 1 : f; } \
  TWO(mod, T, mod_one_##T) TWO(floordiv, T, floordiv_one_##T)
FLOAT_MOD(f32, fmodf, floorf, copysignf) FLOAT_MOD(f64, fmod, floor, copysign)
#define INT_MOD(T) \
  INLINE T mod_one_##T(T x, T y) { if (y == 0 || y == (T)-1) return y == 0 || (T)-1 < 0 ? 0 : x % y; T m = x % y; return m != 0 && (m < 0) != (y < 0) ? m + y : m; } \
  INLINE T floordiv_one_##T(T x, T y) { if (y == 0) return 0; if ((T)-1 < 0 && y == (T)-1) return -x; T q = x / y; return x % y != 0 && (x < 0) != (y < 0) ? q - 1 : q; } \
  TWO(mod, T, mod_one_##T) TWO(floordiv, T, floordiv_one_##T)
INT_MOD(i8) INT_MOD(i16) INT_MOD(i32) INT_MOD(i64) INT_MOD(u8) INT_MOD(u16) INT_MOD(u32) INT_MOD(u64)
#define INT_POWER(T) \
  INLINE T power_one_##T(T x, T y) { \
    if (y < 0) return x == 1 ? 1 : x == (T)-1 ? (y & 1 ? x : 1) : 0; \
    T r = 1; while (y) { if (y & 1) r *= x; x *= x; y >>= 1; } return r; } TWO(power, T, power_one_##T)
INT_POWER(i8) INT_POWER(i16) INT_POWER(i32) INT_POWER(i64) INT_POWER(u8) INT_POWER(u16) INT_POWER(u32) INT_POWER(u64)

// e**x: 2**n * e**r with |r| <= ln(2)/2; the power of two in two factors, so that small results round once
INLINE vf32 exp_vf32(vf32 x) {
  vf32 z = select_vf32(x > 89.0f, splat_f32(89.0f), x); z = select_vf32(z < -104.5f, splat_f32(-104.5f), z);
  vf32 t = z * 1.44269504088896341f + 12582912.0f, n = t - 12582912.0f;
  vf32 r = z - n * 0.693145751953125f; r = r - n * 1.428606765330187e-6f;
  vf32 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f; p = p * r + 4.1665795894e-2f; p = p * r + 1.6666665459e-1f; p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  vi32 k = (vi32)t - 0x4B400000, a = k >> 1, b = k - a;
  return p * (vf32)((a + 127) << 23) * (vf32)((b + 127) << 23);
}
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
INLINE vf32 tanh_vf32(vf32 x) {
  vf32 a = abs_vf32(x), z = x * x;
  vf32 p = z * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f; p = p * z + 1.33314422036e-1f; p = p * z - 3.33332819422e-1f;
  vf32 big = 1.0f - 2.0f / (exp_vf32(a + a) + 1.0f);
  return select_vf32(a < 0.625f, p * z * x + x, signed_vf32(big, x));
}
INLINE vf32 sigmoid_vf32(vf32 x) {
  vf32 e = exp_vf32(-abs_vf32(x)); return select_vf32(x >= 0.0f, splat_f32(1.0f), e) / (1.0f + e);
}
INLINE vf32 erf_vf32(vf32 x) {  // x P(x^2) / Q(x^2) up to 3.92, where f32 cannot tell it from 1 any more
  vf32 c = select_vf32(x > 3.92f, splat_f32(3.92f), x); c = select_vf32(c < -3.92f, splat_f32(-3.92f), c);
  vf32 z = c * c;
  vf32 p = z * 2.050084443625582e-06f + 2.8488376231385743e-04f; p = p * z + 3.7656522081278517e-03f;
  p = p * z + 5.2748833068882575e-02f; p = p * z + 1.9040725454505478e-01f; p = p * z + 1.128379146130805f;
  vf32 q = z * 3.80917398350826e-05f + 1.16254450765222e-03f; q = q * z + 1.4969287116429284e-02f;
  q = q * z + 1.1410944258430183e-01f; q = q * z + 5.020767765120641e-01f; q = q * z + 1.0f;
  vf32 r = c * p / q;
  r = select_vf32(r > 1.0f, splat_f32(1.0f), r); return select_vf32(r < -1.0f, splat_f32(-1.0f), r);
}
#define SCALAR(NAME) INLINE f32 NAME##_f32(f32 x) { return NAME##_vf32(splat_f32(x))[0]; }
SCALAR(exp) SCALAR(log) SCALAR(log1p) SCALAR(tanh) SCALAR(sigmoid) SCALAR(erf)
INLINE f64 sigmoid_one(f64 x) { f64 e = exp(-fabs(x)); return (x >= 0 ? 1 : e) / (1 + e); }
EACH(sigmoid, f64, sigmoid_one)
INLINE f32 rsqrt_f32(f32 x) { return 1.0f / sqrt_f32(x); } INLINE vf32 rsqrt_vf32(vf32 x) { return 1.0f / sqrt_vf32(x); }
INLINE f64 rsqrt_f64(f64 x) { return 1.0 / sqrt_f64(x); } INLINE vf64 rsqrt_vf64(vf64 x) { return 1.0 / sqrt_vf64(x); }
#define FINITE(T, M) \
  INLINE vmask is_finite_v##T(v##T x) { return narrow_##T((v##M)(x - x == x - x)); } \
  INLINE vmask is_nan_v##T(v##T x) { return narrow_##T((v##M)(x != x)); } \
  INLINE mask is_finite_##T(T x) { return -(x - x == x - x); } INLINE mask is_nan_##T(T x) { return -(x != x); }
FINITE(f32, i32) FINITE(f64, i64)
INLINE vf32 uniform_vf32(vu32 w) { vi32 i = (vi32)w; i ^= i >> 31; return __builtin_convertvector(i, vf32) * 4.6566127342e-10f; }
INLINE f32 uniform_f32(u32 w) { return uniform_vf32(splat_u32(w))[0]; }

INLINE i64 clip(i64 x, i64 n) { return x < 0 ? 0 : x >= n ? n - 1 : x; }

// Philox 4x32-10 (Salmon et al., SC 2011): words 0 .. n-1 of the counters 0, 1, 2, ... under one key
#if W == 16
INLINE vu32 high_words(vu32 a, u32 m) {
  __m512i x = (__m512i)a, k = _mm512_set1_epi32(m);
  __m512i even = _mm512_mul_epu32(x, k), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), k);
  return (vu32)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
}
INLINE void four_words(u32 *out, vu32 a, vu32 b, vu32 c, vu32 d) {
  __m512i low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512i high = _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
  __m512i l = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), h = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
  __m512i p = _mm512_permutex2var_epi32((__m512i)a, low, (__m512i)b), q = _mm512_permutex2var_epi32((__m512i)c, low, (__m512i)d);
  __m512i r = _mm512_permutex2var_epi32((__m512i)a, high, (__m512i)b), s = _mm512_permutex2var_epi32((__m512i)c, high, (__m512i)d);
  _mm512_storeu_si512(out, _mm512_permutex2var_epi64(p, l, q)); _mm512_storeu_si512(out + 16, _mm512_permutex2var_epi64(p, h, q));
  _mm512_storeu_si512(out + 32, _mm512_permutex2var_epi64(r, l, s)); _mm512_storeu_si512(out + 48, _mm512_permutex2var_epi64(r, h, s));
}
#else
INLINE vu32 high_words(vu32 a, u32 m) { vu32 r; for (int k = 0; k < W; k++) r[k] = (u64)a[k] * m >> 32; return r; }
INLINE void four_words(u32 *out, vu32 a, vu32 b, vu32 c, vu32 d) {
  for (int k = 0; k < W; k++) { out[4 * k] = a[k]; out[4 * k + 1] = b[k]; out[4 * k + 2] = c[k]; out[4 * k + 3] = d[k]; }
}
#endif
static __attribute__((unused)) void philox(u32 k0, u32 k1, u32 *out, long n) {
  for (long at = 0; at < n; at += 4 * W) {
    vu32 a, b = {0}, c = {0}, d = {0};
    for (int k = 0; k < W; k++) a[k] = (u32)(at / 4 + k);
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

// C[m, n] = sum over k of A[m, k] * B[k, n]; strides in elements, C's columns next to each other.
// B goes panel by panel into scratch, PANEL rows at a time; eight rows of C by two vectors are kept in registers.
#define PANEL 256
#define GEMM(T) \
INLINE void tile8_##T(long k, const T *a, long am, long ak, const T *b, T *c, long cm, int n0, int n1, int add) { \
  const T *a0 = a + 0 * am; v##T x0 = {0}, y0 = {0}; const T *a1 = a + 1 * am; v##T x1 = {0}, y1 = {0}; \
  const T *a2 = a + 2 * am; v##T x2 = {0}, y2 = {0}; const T *a3 = a + 3 * am; v##T x3 = {0}, y3 = {0}; \
  const T *a4 = a + 4 * am; v##T x4 = {0}, y4 = {0}; const T *a5 = a + 5 * am; v##T x5 = {0}, y5 = {0}; \
  const T *a6 = a + 6 * am; v##T x6 = {0}, y6 = {0}; const T *a7 = a + 7 * am; v##T x7 = {0}, y7 = {0}; \
  for (long p = 0; p < k; p++, b += 2 * W) { v##T b0 = ldw_##T(b), b1 = ldw_##T(b + W), t; \
  t = splat_##T(*a0); x0 += t * b0; y0 += t * b1; a0 += ak; t = splat_##T(*a1); x1 += t * b0; y1 += t * b1; a1 += ak; \
  t = splat_##T(*a2); x2 += t * b0; y2 += t * b1; a2 += ak; t = splat_##T(*a3); x3 += t * b0; y3 += t * b1; a3 += ak; \
  t = splat_##T(*a4); x4 += t * b0; y4 += t * b1; a4 += ak; t = splat_##T(*a5); x5 += t * b0; y5 += t * b1; a5 += ak; \
  t = splat_##T(*a6); x6 += t * b0; y6 += t * b1; a6 += ak; t = splat_##T(*a7); x7 += t * b0; y7 += t * b1; a7 += ak; } \
  if (add) { x0 += ld_##T(c + 0 * cm, n0); if (n1) y0 += ld_##T(c + 0 * cm + W, n1); x1 += ld_##T(c + 1 * cm, n0); \
  if (n1) y1 += ld_##T(c + 1 * cm + W, n1); x2 += ld_##T(c + 2 * cm, n0); if (n1) y2 += ld_##T(c + 2 * cm + W, n1); \
  x3 += ld_##T(c + 3 * cm, n0); if (n1) y3 += ld_##T(c + 3 * cm + W, n1); x4 += ld_##T(c + 4 * cm, n0); \
  if (n1) y4 += ld_##T(c + 4 * cm + W, n1); x5 += ld_##T(c + 5 * cm, n0); if (n1) y5 += ld_##T(c + 5 * cm + W, n1); \
  x6 += ld_##T(c + 6 * cm, n0); if (n1) y6 += ld_##T(c + 6 * cm + W, n1); x7 += ld_##T(c + 7 * cm, n0); \
  if (n1) y7 += ld_##T(c + 7 * cm + W, n1); } \
  st_##T(c + 0 * cm, x0, n0); if (n1) st_##T(c + 0 * cm + W, y0, n1); st_##T(c + 1 * cm, x1, n0); \
  if (n1) st_##T(c + 1 * cm + W, y1, n1); st_##T(c + 2 * cm, x2, n0); if (n1) st_##T(c + 2 * cm + W, y2, n1); \
  st_##T(c + 3 * cm, x3, n0); if (n1) st_##T(c + 3 * cm + W, y3, n1); st_##T(c + 4 * cm, x4, n0); \
  if (n1) st_##T(c + 4 * cm + W, y4, n1); st_##T(c + 5 * cm, x5, n0); if (n1) st_##T(c + 5 * cm + W, y5, n1); \
  st_##T(c + 6 * cm, x6, n0); if (n1) st_##T(c + 6 * cm + W, y6, n1); st_##T(c + 7 * cm, x7, n0); \
  if (n1) st_##T(c + 7 * cm + W, y7, n1); } \
INLINE void tile4_##T(long k, const T *a, long am, long ak, const T *b, T *c, long cm, int n0, int n1, int add) { \
  const T *a0 = a + 0 * am; v##T x0 = {0}, y0 = {0}; const T *a1 = a + 1 * am; v##T x1 = {0}, y1 = {0}; \
  const T *a2 = a + 2 * am; v##T x2 = {0}, y2 = {0}; const T *a3 = a + 3 * am; v##T x3 = {0}, y3 = {0}; \
  for (long p = 0; p < k; p++, b += 2 * W) { v##T b0 = ldw_##T(b), b1 = ldw_##T(b + W), t; \
  t = splat_##T(*a0); x0 += t * b0; y0 += t * b1; a0 += ak; t = splat_##T(*a1); x1 += t * b0; y1 += t * b1; a1 += ak; \
  t = splat_##T(*a2); x2 += t * b0; y2 += t * b1; a2 += ak; t = splat_##T(*a3); x3 += t * b0; y3 += t * b1; a3 += ak; } \
  if (add) { x0 += ld_##T(c + 0 * cm, n0); if (n1) y0 += ld_##T(c + 0 * cm + W, n1); x1 += ld_##T(c + 1 * cm, n0); \
  if (n1) y1 += ld_##T(c + 1 * cm + W, n1); x2 += ld_##T(c + 2 * cm, n0); if (n1) y2 += ld_##T(c + 2 * cm + W, n1); \
  x3 += ld_##T(c + 3 * cm, n0); if (n1) y3 += ld_##T(c + 3 * cm + W, n1); } \
  st_##T(c + 0 * cm, x0, n0); if (n1) st_##T(c + 0 * cm + W, y0, n1); st_##T(c + 1 * cm, x1, n0); \
  if (n1) st_##T(c + 1 * cm + W, y1, n1); st_##T(c + 2 * cm, x2, n0); if (n1) st_##T(c + 2 * cm + W, y2, n1); \
  st_##T(c + 3 * cm, x3, n0); if (n1) st_##T(c + 3 * cm + W, y3, n1); } \
INLINE void tile1_##T(long k, const T *a, long am, long ak, const T *b, T *c, long cm, int n0, int n1, int add) { \
  const T *a0 = a + 0 * am; v##T x0 = {0}, y0 = {0}; \
  for (long p = 0; p < k; p++, b += 2 * W) { v##T b0 = ldw_##T(b), b1 = ldw_##T(b + W), t; \
  t = splat_##T(*a0); x0 += t * b0; y0 += t * b1; a0 += ak; } \
  if (add) { x0 += ld_##T(c + 0 * cm, n0); if (n1) y0 += ld_##T(c + 0 * cm + W, n1); } \
  st_##T(c + 0 * cm, x0, n0); if (n1) st_##T(c + 0 * cm + W, y0, n1); } \
static __attribute__((unused)) void gemm_##T(long m, long n, long k, const T *a, long am, long ak, const T *b, long bk, long bn, T *c, long cm) { \
  T pack[PANEL * 2 * W] __attribute__((aligned(64))); \
  for (long j = 0; j < n; j += 2 * W) { \
    long w = n - j < 2 * W ? n - j : 2 * W; int n0 = w < W ? w : W, n1 = w < W ? 0 : w - W; \
    for (long q = 0; q < k; q += PANEL) { \
      long h = k - q < PANEL ? k - q : PANEL; const T *from = b + q * bk + j * bn; \
      if (bn == 1) for (long p = 0; p < h; p++) { stw_##T(pack + p * 2 * W, ld_##T(from + p * bk, n0)); \
        stw_##T(pack + p * 2 * W + W, n1 ? ld_##T(from + p * bk + W, n1) : (v##T){0}); } \
      else for (long p = 0; p < h; p++) for (long t = 0; t < 2 * W; t++) pack[p * 2 * W + t] = t < w ? from[p * bk + t * bn] : 0; \
      long i = 0; const T *at = a + q * ak; T *to = c + j; \
      for (; i + 8 <= m; i += 8) tile8_##T(h, at + i * am, am, ak, pack, to + i * cm, cm, n0, n1, q > 0); \
      for (; i + 4 <= m; i += 4) tile4_##T(h, at + i * am, am, ak, pack, to + i * cm, cm, n0, n1, q > 0); \
      for (; i < m; i++) tile1_##T(h, at + i * am, am, ak, pack, to + i * cm, cm, n0, n1, q > 0); } } \
  if (k == 0) for (long i = 0; i < m; i++) for (long j = 0; j < n; j++) c[i * cm + j] = 0; }
GEMM(f32) GEMM(f64)
"""
