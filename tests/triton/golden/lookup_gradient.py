import triton
import triton.language as tl


@triton.jit
def k0(b0, b3, b4, b5, b6):
    p = tl.program_id(0) * 32 + tl.arange(0, 32)
    own = tl.load(b0 + p, mask=p < 40, other=0)
    own = tl.minimum(tl.maximum(own.to(tl.int64), 0), 49).to(tl.int32)
    start = 0
    below = tl.zeros((32, 64), tl.int32)
    ahead = tl.zeros((32, 64), tl.int32)
    equal = tl.zeros((32, 64), tl.int32)
    for k in range(0, 40, 64):
        q = start + k + tl.arange(0, 64)
        other = tl.load(b0 + q, mask=q < 40, other=0)
        other = tl.minimum(tl.maximum(other.to(tl.int64), 0), 49).to(tl.int32)
        real = (q < 40)[None, :]
        same = (other[None, :] == own[:, None]) & real
        below += ((other[None, :] < own[:, None]) & real).to(tl.int32)
        ahead += (same & (q[None, :] < p[:, None])).to(tl.int32)
        equal += same.to(tl.int32)
    first = tl.sum(below, 1)
    at = start + first + tl.sum(ahead, 1)
    last = first + tl.sum(equal, 1)
    tl.store(b3 + at, p, mask=p < 40)
    tl.store(b4 + at, own, mask=p < 40)
    head = (p < 40) & (at == first)
    tl.store(b5 + own, first, mask=head)
    tl.store(b6 + own, last, mask=head)


@triton.jit
def k1(b0, b1, b3, b4, b5, b6, b2):
    pid = tl.program_id(0)
    i0 = pid
    i1 = tl.arange(0, 16)
    s2 = tl.minimum(tl.maximum(tl.load(b5 + i0), 0), 39)
    m3 = tl.load(b4 + s2) == i0
    s4 = tl.where(m3, tl.load(b6 + i0), s2)
    acc5 = tl.full((128, 16), 0.0, tl.float32)
    for k in range(0, s4 - s2, 128):
        i6 = s2 + k + tl.arange(0, 128)
        m7 = i6 < s4
        p8 = tl.load(b3 + i6, mask=m7, other=0)
        v9 = tl.load(b1 + p8[:, None] * 16 + i1[None, :], mask=m7[:, None], other=0.0)
        v10 = tl.where(m7[:, None], v9, tl.full((), 0.0, tl.float32))
        acc5 = acc5 + v10
    v11 = tl.sum(acc5, 0)
    tl.store(b2 + i0 * 16 + i1, v11)
