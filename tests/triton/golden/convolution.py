import triton
import triton.language as tl


@triton.jit
def _tanh(x):
    s = x * x
    near = x * (1 + s * (-1 / 3 + s * (2 / 15 + s * (-17 / 315 + s * (62 / 2835)))))
    e = tl.exp(-2 * tl.abs(x))
    far = (1 - e) / (1 + e)
    return tl.where(s < 0.04, near, tl.where(x < 0, -far, far))


@triton.jit
def k0_part0(part, b0, b1, b3):
    pid = part
    i0 = pid * 16 + tl.arange(0, 16)
    m1 = i0 < 50
    a2 = i0 // 25
    a3 = i0 // 5 % 5
    a4 = i0 % 5
    i5 = tl.arange(0, 64)
    m6 = i5 < 45
    a7 = i5 // 15
    a8 = i5 // 5 % 3
    a9 = i5 % 5
    i10 = tl.arange(0, 16)
    a11 = a3[:, None] * 2 + a7[None, :] - 1
    m12 = a11 >= 0
    m13 = a11 < 9
    a14 = a4[:, None] * 2 + a8[None, :] - 1
    m15 = a14 >= 0
    m16 = a14 < 9
    v17 = tl.load(b0 + a2[:, None] * 405 + a11 * 45 + a14 * 5 + a9[None, :], mask=(m1[:, None] & m6[None, :] & m12 & m13 & m15 & m16), other=0.0)
    v18 = tl.load(b1 + a7[:, None] * 240 + a8[:, None] * 80 + a9[:, None] * 16 + i10[None, :], mask=m6[:, None], other=0.0)
    v19 = tl.dot(v17, v18, input_precision="ieee", out_dtype=tl.float32)
    v20 = _tanh(v19)
    tl.store(b3 + a2[:, None] * 400 + a3[:, None] * 80 + a4[:, None] * 16 + i10[None, :], v20, mask=(m1)[:, None])


@triton.jit
def k0_part1(part, b2, b1, b4):
    pid = part
    p0 = pid % 4
    p1 = pid // 4 % 2
    p2 = pid // 8
    i3 = p2
    i4 = p1
    i5 = p0 * 16 + tl.arange(0, 16)
    m6 = i5 < 50
    a7 = i5 // 25
    a8 = i5 // 5 % 5
    a9 = i5 % 5
    i10 = tl.arange(0, 64)
    a11 = i10 // 32
    a12 = i10 // 16 % 2
    a13 = i10 % 16
    i14 = tl.arange(0, 8)
    m15 = i14 < 5
    a16 = a8 * 2 + i3
    m17 = a16 < 9
    a18 = a9 * 2 + i4
    m19 = a18 < 9
    a20 = (i3 + 1) % 2
    a21 = a11 * 2 + a20
    m22 = a21 < 3
    a23 = (i3 + 1) // 2
    a24 = a8[:, None] - a11[None, :] + a23
    m25 = a24 >= 0
    m26 = a24 < 5
    a27 = (i4 + 1) % 2
    a28 = a12 * 2 + a27
    m29 = a28 < 3
    a30 = (i4 + 1) // 2
    a31 = a9[:, None] - a12[None, :] + a30
    m32 = a31 >= 0
    m33 = a31 < 5
    v34 = tl.load(b2 + a7[:, None] * 400 + a24 * 80 + a31 * 16 + a13[None, :], mask=(m6[:, None] & m25 & m26 & m32 & m33), other=0.0)
    v35 = tl.load(b1 + a21[:, None] * 240 + a28[:, None] * 80 + i14[None, :] * 16 + a13[:, None], mask=(m15[None, :] & m22[:, None] & m29[:, None]), other=0.0)
    v36 = tl.dot(v34, v35, input_precision="ieee", out_dtype=tl.float32)
    tl.store(b4 + a7[:, None] * 405 + a16[:, None] * 45 + a18[:, None] * 5 + i14[None, :], v36, mask=(m6[:, None] & m15[None, :] & m17[:, None] & m19[:, None]))


@triton.jit
def k0(b0, b1, b2, b3, b4):
    pid = tl.program_id(0)
    if pid < 4:
        k0_part0(pid, b0, b1, b3)
    else:
        k0_part1(pid - 4, b2, b1, b4)
