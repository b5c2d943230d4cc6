import triton
import triton.language as tl


@triton.jit
def k0(b0, b2):
    pid = tl.program_id(0)
    s0 = pid * 2048
    s1 = tl.minimum(s0 + 2048, 70001)
    acc4 = tl.full((2048,), 0.0, tl.float32)
    for k in range(s0, s1, 2048):
        i2 = k + tl.arange(0, 2048)
        m3 = i2 < s1
        v5 = tl.load(b0 + i2, mask=m3, other=0.0)
        v6 = tl.where(m3, v5, tl.full((), 0.0, tl.float32))
        acc4 = acc4 + v6
    v7 = tl.sum(acc4, 0)
    tl.store(b2 + pid, v7)


@triton.jit
def k1(b2, b1):
    i0 = tl.arange(0, 64)
    m1 = i0 < 35
    v2 = tl.load(b2 + i0, mask=m1, other=0.0)
    v3 = tl.where(m1, v2, tl.full((), 0.0, tl.float32))
    v4 = tl.sum(v3, 0)
    tl.store(b1, v4)
