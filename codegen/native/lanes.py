"""C text: vectors of W lanes, their loads and stores, choice, extremes and sums over lanes, for every type.

Vectors are GNU vector types, W the machine's width in f32; a bool is an i32 lane of 0 or -1, an f16 or bf16 an f32 lane that
is rounded after each operation. Loads and stores take the number of lanes, so that ragged tails never touch memory
outside. No header is included: `immintrin.h` alone takes a compiler .13 s. Refuses to hold functions of numbers (`functions`) and loops.
"""

from __future__ import annotations

# @ stands for each type, $ for the signed integer of its width; see `prelude`
HEAD = r"""#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define W 16
#define COUNT {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#elif defined(__AVX__)
#define W 8
#define COUNT {0, 1, 2, 3, 4, 5, 6, 7}
#else
#define W 4
#define COUNT {0, 1, 2, 3}
#endif
#define INLINE static inline __attribute__((always_inline, unused))
#ifndef APART
#define APART static __attribute__((noinline, unused))
#endif
#define memcpy __builtin_memcpy
#define memset __builtin_memset
#define NAN __builtin_nanf("")
#define INFINITY __builtin_inff()
typedef float f32; typedef double f64; typedef unsigned char bool8; typedef unsigned short f16; typedef float bf16;
typedef signed char i8; typedef short i16; typedef int i32; typedef long long i64;
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
#define VECTOR(T) typedef T v##T __attribute__((vector_size(W * sizeof(T))));
VECTOR(f32) VECTOR(f64) VECTOR(i8) VECTOR(i16) VECTOR(i32) VECTOR(i64) VECTOR(u8) VECTOR(u16) VECTOR(u32) VECTOR(u64)
typedef i32 mask; typedef vi32 vmask;
"""

ALL = r"""
INLINE v@ splat_@(@ x) { return x - (v@){0}; }
INLINE v@ ldw_@(const @ *p) { v@ r; memcpy(&r, p, sizeof r); return r; }
INLINE void stw_@(@ *p, v@ x) { memcpy(p, &x, sizeof x); }
// from here on n lanes count: the others are zero when loaded and left alone when stored
INLINE v@ ldg_@(const @ *p, long s, int n) { v@ r = {0}; for (int k = 0; k < n; k++) r[k] = p[k * s]; return r; }
INLINE void stg_@(@ *p, long s, v@ x, int n) { for (int k = 0; k < n; k++) p[k * s] = x[k]; }
INLINE v@ ld_@(const @ *p, int n) { return n == W ? ldw_@(p) : ldn_@(p, n); }
INLINE void st_@(@ *p, v@ x, int n) { if (n == W) stw_@(p, x); else stn_@(p, x, n); }
INLINE v@ select_v@(vmask m, v@ a, v@ b) {
  v$ w = __builtin_convertvector(m, v$); return (v@)((w & (v$)a) | (~w & (v$)b)); }
INLINE @ select_@(mask m, @ a, @ b) { return m ? a : b; }
INLINE vmask narrow_@(v$ m) { return __builtin_convertvector(m, vmask); }
INLINE v@ sum_v@(v@ a, v@ b) { return a + b; }
INLINE v@ prod_v@(v@ a, v@ b) { return a * b; }
INLINE @ sum_@(@ a, @ b) { return a + b; }
INLINE @ prod_@(@ a, @ b) { return a * b; }
INLINE @ whole_sum_@(v@ x) { FOLD(x, sum_v@) return x[0]; }
INLINE @ whole_prod_@(v@ x) { FOLD(x, prod_v@) return x[0]; }
INLINE @ whole_max_@(v@ x) { FOLD(x, maximum_v@) return x[0]; }
INLINE @ whole_min_@(v@ x) { FOLD(x, minimum_v@) return x[0]; }
"""

FLOAT_EXTREMES = r"""
INLINE v@ maximum_v@(v@ a, v@ b) { return select_v@(narrow_@((v$)(b != b)), b, larger_@(a, b)); }
INLINE v@ minimum_v@(v@ a, v@ b) { return select_v@(narrow_@((v$)(b != b)), b, smaller_@(a, b)); }
INLINE @ maximum_@(@ a, @ b) { return a > b || a != a ? a : b; }
INLINE @ minimum_@(@ a, @ b) { return a < b || a != a ? a : b; }
// a number that the compiler knows nothing of: what made it is rounded before it is added to
INLINE v@ sealed_v@(v@ x) { long z = 0; __asm__("" : "+r"(z)); return (v@)((v$)x ^ ($)z); }
INLINE @ sealed_@(@ x) { long z = 0; $ b; __asm__("" : "+r"(z)); memcpy(&b, &x, sizeof b); b ^= ($)z; memcpy(&x, &b, sizeof b); return x; }
"""

# the larger, or a where one is NaN: one instruction, if the compiler is told so
LARGER = r"""
#if __has_builtin(__builtin_ia32_maxps512_mask) && W == 16
INLINE vf32 larger_f32(vf32 a, vf32 b) { return __builtin_ia32_maxps512_mask(b, a, a, (u16)-1, 4); }
INLINE vf32 smaller_f32(vf32 a, vf32 b) { return __builtin_ia32_minps512_mask(b, a, a, (u16)-1, 4); }
#else
INLINE vf32 larger_f32(vf32 a, vf32 b) { return select_vf32(b > a, b, a); }
INLINE vf32 smaller_f32(vf32 a, vf32 b) { return select_vf32(b < a, b, a); }
#endif
INLINE vf64 larger_f64(vf64 a, vf64 b) { return select_vf64(narrow_f64(b > a), b, a); }
INLINE vf64 smaller_f64(vf64 a, vf64 b) { return select_vf64(narrow_f64(b < a), b, a); }
"""

INT_EXTREMES = r"""
INLINE v@ maximum_v@(v@ a, v@ b) { return select_v@(narrow_@((v$)(a > b)), a, b); }
INLINE v@ minimum_v@(v@ a, v@ b) { return select_v@(narrow_@((v$)(a < b)), a, b); }
INLINE @ maximum_@(@ a, @ b) { return a > b ? a : b; }
INLINE @ minimum_@(@ a, @ b) { return a < b ? a : b; }
"""

NARROW = r"""
INLINE v@ ldn_@(const @ *p, int n) { v@ r = {0}; for (int k = 0; k < n; k++) r[k] = p[k]; return r; }
INLINE void stn_@(@ *p, v@ x, int n) { for (int k = 0; k < n; k++) p[k] = x[k]; }
"""

WIDE = r"""
#if W == 16
INLINE v@ ldn_@(const @ *p, int n) {
  return (v@)__builtin_ia32_loaddqusi512_mask((const i32 *)p, (vi32){0}, (u16)((1u << n) - 1)); }
INLINE void stn_@(@ *p, v@ x, int n) { __builtin_ia32_storedqusi512_mask((i32 *)p, (vi32)x, (u16)((1u << n) - 1)); }
#elif W == 8
INLINE v@ ldn_@(const @ *p, int n) { return (v@)__builtin_ia32_maskloadps256((const vf32 *)p, lanes(n)); }
INLINE void stn_@(@ *p, v@ x, int n) { __builtin_ia32_maskstoreps256((vf32 *)p, lanes(n), (vf32)x); }
#else
INLINE v@ ldn_@(const @ *p, int n) { v@ r = {0}; for (int k = 0; k < n; k++) r[k] = p[k]; return r; }
INLINE void stn_@(@ *p, v@ x, int n) { for (int k = 0; k < n; k++) p[k] = x[k]; }
#endif
"""

# f over all lanes, halves first
FOLD = r"""
#if !__has_builtin(__builtin_shufflevector)
#define FOLD(x, f) \
  for (int h = W / 2; h; h /= 2) { __typeof__(x) y = x; for (int k = 0; k < h; k++) y[k] = x[k + h]; x = f(x, y); }
#elif W == 16
#define FOLD(x, f) \
  x = f(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)); \
  x = f(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)); \
  x = f(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)); \
  x = f(x, __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
#elif W == 8
#define FOLD(x, f) \
  x = f(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3)); \
  x = f(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5)); \
  x = f(x, __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6));
#else
#define FOLD(x, f) \
  x = f(x, __builtin_shufflevector(x, x, 2, 3, 0, 1)); \
  x = f(x, __builtin_shufflevector(x, x, 1, 0, 3, 2));
#endif
"""

MASKS = r"""
INLINE vmask lanes(int n) { const vi32 at = COUNT; return at < splat_i32(n); }
INLINE vi64 ramp(i64 base, i64 step) { const vi64 at = COUNT; return splat_i64(base) + at * splat_i64(step); }
INLINE vi32 ramp_i32(long base, i32 step) { const vi32 at = COUNT; return splat_i32((i32)base) + at * splat_i32(step); }
INLINE vmask tomask(vu8 x) { return __builtin_convertvector(x, vi32) != 0; }
INLINE vu8 tobytes(vmask x) { return __builtin_convertvector(-x, vu8); }
INLINE vmask splat_mask(mask x) { return splat_i32(x); }
INLINE vmask select_vmask(vmask m, vmask a, vmask b) { return (m & a) | (~m & b); }
INLINE mask select_mask(mask m, mask a, mask b) { return m ? a : b; }
INLINE mask whole_max_mask(vmask x) { mask r = 0; for (int k = 0; k < W; k++) r |= x[k]; return r; }
INLINE mask whole_min_mask(vmask x) { mask r = -1; for (int k = 0; k < W; k++) r &= x[k]; return r; }
INLINE i64 clip(i64 x, i64 n) { return x < 0 ? 0 : x >= n ? n - 1 : x; }
"""

# to the nearest, ties to even; what is too small becomes subnormal, NaN stays
HALVES = r"""
INLINE vf32 widen_f16(vu16 x) {
  vi32 h = __builtin_convertvector(x, vi32), o = (h & 0x7FFF) << 13, e = o & 0x0F800000;
  o += 112 << 23; o += (e == 0x0F800000) & (112 << 23);
  vi32 tiny = (vi32)((vf32)(o + (1 << 23)) - (vf32)splat_i32(113 << 23));
  return (vf32)(select_vi32(e == 0, tiny, o) | (h & 0x8000) << 16);
}
INLINE vu16 narrow_f16(vf32 x) {
  vi32 b = (vi32)x, a = b & 0x7FFFFFFF, s = (b >> 16) & 0x8000;
  vi32 tiny = (vi32)((vf32)a + 0.5f) - 0x3F000000;
  vi32 o = (a - (112 << 23) + 0xFFF + ((a >> 13) & 1)) >> 13;
  o = select_vi32(a < 0x38800000, tiny, o);
  o = select_vi32(a >= 0x47800000, splat_i32(0x7C00), o);
  o = select_vi32(a > 0x7F800000, splat_i32(0x7E00), o);
  return __builtin_convertvector(o | s, vu16);
}
INLINE f32 widen_one_f16(u16 x) { return widen_f16(splat_u16(x))[0]; }
INLINE u16 narrow_one_f16(f32 x) { return narrow_f16(splat_f32(x))[0]; }
INLINE vf32 round_vf16(vf32 x) { return widen_f16(narrow_f16(x)); }
INLINE vf32 round_vbf16(vf32 x) {
  vu32 b = (vu32)x, r = (b + 0x7FFFu + ((b >> 16) & 1u)) & 0xFFFF0000u;
  return select_vf32(x != x, x, (vf32)r);
}
INLINE f32 round_f16(f32 x) { return round_vf16(splat_f32(x))[0]; }
INLINE f32 round_bf16(f32 x) { return round_vbf16(splat_f32(x))[0]; }
INLINE f32 odd_f64(f64 x) {  // to f32 so that another rounding rounds once: a cut-off rest sets the last bit
  f32 r = (f32)x; i32 b; memcpy(&b, &r, 4);
  if ((f64)r != x && x == x && !(b & 1) && x - x == 0) { b += ((f64)r < x) == (x > 0) ? 1 : -1; memcpy(&r, &b, 4); }
  return r;
}
INLINE vf32 odd_vf64(vf64 x) { vf32 r; for (int k = 0; k < W; k++) r[k] = odd_f64(x[k]); return r; }
INLINE vf32 ld_f16(const f16 *p, int n) { return widen_f16(ld_u16(p, n)); }
INLINE void st_f16(f16 *p, vf32 x, int n) { st_u16(p, narrow_f16(x), n); }
INLINE vf32 ldg_f16(const f16 *p, long s, int n) { return widen_f16(ldg_u16(p, s, n)); }
INLINE void stg_f16(f16 *p, long s, vf32 x, int n) { stg_u16(p, s, narrow_f16(x), n); }
"""
