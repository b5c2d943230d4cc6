import triton
import triton.language as tl


@triton.jit
def _higher(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def k0(b0, b1):
    pid = tl.program_id(0)
    i0 = pid
    i1 = tl.arange(0, 128)
    m2 = i1 < 100
    v3 = tl.load(b0 + i0 * 100 + i1, mask=m2, other=0.0)
    v4 = tl.where(m2, v3, tl.full((), float('-inf'), tl.float32))
    v5 = tl.reduce(v4, 0, _higher)
    v6 = (v3 - v5)
    v7 = tl.exp(v6)
    v8 = tl.where(m2, v7, tl.full((), 0.0, tl.float32))
    v9 = tl.sum(v8, 0)
    v10 = (v7 / v9)
    tl.store(b1 + i0 * 100 + i1, v10, mask=(m2))
