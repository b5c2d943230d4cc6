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
def k0(b0, b1, b3, b14):
    pid = tl.program_id(0)
    p0 = pid % 5
    p1 = pid // 5
    i2 = p1 * 16 + tl.arange(0, 16)
    a3 = i2 // 32
    a4 = i2 % 32
    i5 = p0 * 16 + tl.arange(0, 16)
    acc7 = tl.full((16, 16), 0.0, tl.float32)
    for k in range(0, 8, 1):
        i6 = k
        v8 = tl.load(b0 + a4 * 80 + a3 * 8 + i6)
        v9 = tl.load(b1 + i6 * 80 + i5)
        acc7 = acc7 + v8[:, None] * v9[None, :]
    v10 = tl.load(b3 + i5)
    v11 = (acc7 + v10[None, :])
    tl.store(b14 + a3[:, None] * 2560 + a4[:, None] * 80 + i5[None, :], v11)


@triton.jit
def k1(b4, b5, b14, b2, b7, b15, b16, b17, b18, b19, b20, b21, b22):
    rows = tl.program_id(0)
    cols_32 = tl.arange(0, 32)
    m0 = cols_32 < 20
    v1 = tl.load(b4 + rows * 20 + cols_32, mask=(m0), other=0)
    v2 = tl.load(b5 + rows * 20 + cols_32, mask=(m0), other=0)
    v3 = tl.load(b14 + 0 * 2560 + rows * 80 + cols_32, mask=(m0), other=0)
    v4 = tl.load(b14 + 0 * 2560 + rows * 80 + 20 + cols_32, mask=(m0), other=0)
    v5 = tl.load(b14 + 0 * 2560 + rows * 80 + 40 + cols_32, mask=(m0), other=0)
    v6 = tl.load(b14 + 0 * 2560 + rows * 80 + 60 + cols_32, mask=(m0), other=0)
    w12 = tl.load(b2 + cols_32[:, None] * 80 + cols_32[None, :] * 1, mask=(m0[:, None] & m0[None, :]), other=0)
    w15 = tl.load(b2 + 20 + cols_32[:, None] * 80 + cols_32[None, :] * 1, mask=(m0[:, None] & m0[None, :]), other=0)
    w18 = tl.load(b2 + 40 + cols_32[:, None] * 80 + cols_32[None, :] * 1, mask=(m0[:, None] & m0[None, :]), other=0)
    w21 = tl.load(b2 + 60 + cols_32[:, None] * 80 + cols_32[None, :] * 1, mask=(m0[:, None] & m0[None, :]), other=0)
    for i in range(0, 10):
        t = i
        ahead = tl.minimum(t + 1, 9)
        v7 = tl.load(b14 + ahead * 2560 + rows * 80 + cols_32, mask=(m0), other=0)
        v8 = tl.load(b14 + ahead * 2560 + rows * 80 + 20 + cols_32, mask=(m0), other=0)
        v9 = tl.load(b14 + ahead * 2560 + rows * 80 + 40 + cols_32, mask=(m0), other=0)
        v10 = tl.load(b14 + ahead * 2560 + rows * 80 + 60 + cols_32, mask=(m0), other=0)
        v11 = tl.where(m0, v1, tl.full((), 0.0, tl.float32))
        v13 = v11[:, None] * w12
        v14 = tl.sum(v13, 0)
        v16 = v11[:, None] * w15
        v17 = tl.sum(v16, 0)
        v19 = v11[:, None] * w18
        v20 = tl.sum(v19, 0)
        v22 = v11[:, None] * w21
        v23 = tl.sum(v22, 0)
        tl.store(b15 + t * 640 + rows * 20 + cols_32, v2, mask=(m0))
        tl.store(b16 + t * 640 + rows * 20 + cols_32, v1, mask=(m0))
        v24 = (v4 + v17)
        v25 = (1 / (1 + tl.exp(-v24)))
        tl.store(b17 + t * 640 + rows * 20 + cols_32, v25, mask=(m0))
        v26 = (v3 + v14)
        v27 = (1 / (1 + tl.exp(-v26)))
        tl.store(b18 + t * 640 + rows * 20 + cols_32, v27, mask=(m0))
        v28 = (v5 + v20)
        v29 = _tanh(v28)
        tl.store(b19 + t * 640 + rows * 20 + cols_32, v29, mask=(m0))
        v30 = (v6 + v23)
        v31 = (1 / (1 + tl.exp(-v30)))
        tl.store(b20 + t * 640 + rows * 20 + cols_32, v31, mask=(m0))
        v32 = (v25 * v2)
        v33 = (v27 * v29)
        v34 = (v32 + v33)
        v35 = _tanh(v34)
        tl.store(b21 + t * 640 + rows * 20 + cols_32, v35, mask=(m0))
        v36 = (v31 * v35)
        tl.store(b22 + t * 640 + rows * 20 + cols_32, v36, mask=(m0))
        v1 = v36
        v2 = v34
        v3 = v7
        v4 = v8
        v5 = v9
        v6 = v10
    tl.store(b7 + rows * 20 + cols_32, v1, mask=(m0))


@triton.jit
def k2_part0(part, b22, b6):
    pid = part
    i0 = pid * 256 + tl.arange(0, 256)
    a1 = i0 // 200
    a2 = i0 // 20 % 10
    a3 = i0 % 20
    v4 = tl.load(b22 + a2 * 640 + a1 * 20 + a3)
    tl.store(b6 + a1 * 200 + a2 * 20 + a3, v4)


@triton.jit
def k2_part1(part, b22, b23):
    pid = part
    i0 = pid * 256 + tl.arange(0, 256)
    a1 = i0 // 640
    a2 = i0 // 20 % 32
    a3 = i0 % 20
    v4 = tl.load(b22 + a1 * 640 + a2 * 20 + a3)
    v5 = (v4 * 0.1)
    tl.store(b23 + a1 * 640 + a2 * 20 + a3, v5)


@triton.jit
def k2_part2(part, b7, b24):
    pid = part
    i0 = pid * 256 + tl.arange(0, 256)
    m1 = i0 < 640
    a2 = i0 // 20
    a3 = i0 % 20
    v4 = tl.load(b7 + a2 * 20 + a3, mask=m1, other=0.0)
    v5 = (v4 * 0.1)
    tl.store(b24 + a2 * 20 + a3, v5, mask=(m1))


@triton.jit
def k2(b22, b7, b6, b23, b24):
    pid = tl.program_id(0)
    if pid < 25:
        k2_part0(pid, b22, b6)
    elif pid < 50:
        k2_part1(pid - 25, b22, b23)
    else:
        k2_part2(pid - 50, b7, b24)


@triton.jit
def k3(b24, b15, b17, b18, b19, b20, b21, b23, b2, b12, b13, b25):
    rows = tl.program_id(0)
    cols_32 = tl.arange(0, 32)
    m0 = cols_32 < 20
    v1 = tl.load(b24 + rows * 20 + cols_32, mask=(m0), other=0)
    v2 = tl.broadcast_to(tl.full((), 0.0, tl.float32), (32,))
    v3 = tl.load(b23 + 9 * 640 + rows * 20 + cols_32, mask=(m0), other=0)
    v4 = tl.load(b20 + 9 * 640 + rows * 20 + cols_32, mask=(m0), other=0)
    v5 = tl.load(b21 + 9 * 640 + rows * 20 + cols_32, mask=(m0), other=0)
    v6 = tl.load(b19 + 9 * 640 + rows * 20 + cols_32, mask=(m0), other=0)
    v7 = tl.load(b18 + 9 * 640 + rows * 20 + cols_32, mask=(m0), other=0)
    v8 = tl.load(b15 + 9 * 640 + rows * 20 + cols_32, mask=(m0), other=0)
    v9 = tl.load(b17 + 9 * 640 + rows * 20 + cols_32, mask=(m0), other=0)
    w40 = tl.load(b2 + cols_32[:, None] * 1 + cols_32[None, :] * 80, mask=(m0[:, None] & m0[None, :]), other=0)
    w43 = tl.load(b2 + 20 + cols_32[:, None] * 1 + cols_32[None, :] * 80, mask=(m0[:, None] & m0[None, :]), other=0)
    w47 = tl.load(b2 + 40 + cols_32[:, None] * 1 + cols_32[None, :] * 80, mask=(m0[:, None] & m0[None, :]), other=0)
    w51 = tl.load(b2 + 60 + cols_32[:, None] * 1 + cols_32[None, :] * 80, mask=(m0[:, None] & m0[None, :]), other=0)
    for i in range(0, 10):
        t = 9 - i
        ahead = tl.maximum(t - 1, 0)
        v10 = tl.load(b23 + ahead * 640 + rows * 20 + cols_32, mask=(m0), other=0)
        v11 = tl.load(b20 + ahead * 640 + rows * 20 + cols_32, mask=(m0), other=0)
        v12 = tl.load(b21 + ahead * 640 + rows * 20 + cols_32, mask=(m0), other=0)
        v13 = tl.load(b19 + ahead * 640 + rows * 20 + cols_32, mask=(m0), other=0)
        v14 = tl.load(b18 + ahead * 640 + rows * 20 + cols_32, mask=(m0), other=0)
        v15 = tl.load(b15 + ahead * 640 + rows * 20 + cols_32, mask=(m0), other=0)
        v16 = tl.load(b17 + ahead * 640 + rows * 20 + cols_32, mask=(m0), other=0)
        v17 = (v1 + v3)
        v18 = (v17 * v4)
        v19 = (v5 * v5)
        v20 = (1.0 - v19)
        v21 = (v18 * v20)
        v22 = (v2 + v21)
        v23 = (v22 * v6)
        v24 = (1.0 - v7)
        v25 = (v7 * v24)
        v26 = (v23 * v25)
        tl.store(b25 + t * 2560 + rows * 80 + cols_32, v26, mask=(m0))
        v27 = (v22 * v8)
        v28 = (1.0 - v9)
        v29 = (v9 * v28)
        v30 = (v27 * v29)
        tl.store(b25 + t * 2560 + rows * 80 + 20 + cols_32, v30, mask=(m0))
        v31 = (v22 * v7)
        v32 = (v6 * v6)
        v33 = (1.0 - v32)
        v34 = (v31 * v33)
        tl.store(b25 + t * 2560 + rows * 80 + 40 + cols_32, v34, mask=(m0))
        v35 = (v17 * v5)
        v36 = (1.0 - v4)
        v37 = (v4 * v36)
        v38 = (v35 * v37)
        tl.store(b25 + t * 2560 + rows * 80 + 60 + cols_32, v38, mask=(m0))
        v39 = tl.where(m0, v26, tl.full((), 0.0, tl.float32))
        v41 = v39[:, None] * w40
        v42 = tl.where(m0, v30, tl.full((), 0.0, tl.float32))
        v44 = v42[:, None] * w43
        v45 = v41 + v44
        v46 = tl.where(m0, v34, tl.full((), 0.0, tl.float32))
        v48 = v46[:, None] * w47
        v49 = v45 + v48
        v50 = tl.where(m0, v38, tl.full((), 0.0, tl.float32))
        v52 = v50[:, None] * w51
        v53 = v49 + v52
        v54 = tl.sum(v53, 0)
        v55 = (v22 * v9)
        v1 = v54
        v2 = v55
        v3 = v10
        v4 = v11
        v5 = v12
        v6 = v13
        v7 = v14
        v8 = v15
        v9 = v16
    tl.store(b12 + rows * 20 + cols_32, v1, mask=(m0))
    tl.store(b13 + rows * 20 + cols_32, v2, mask=(m0))


@triton.jit
def k4_part0(part, b16, b25, b10):
    pid = part
    p0 = pid % 5
    p1 = pid // 5
    i2 = p1 * 16 + tl.arange(0, 16)
    m3 = i2 < 20
    i4 = p0 * 16 + tl.arange(0, 16)
    acc8 = tl.full((16, 16), 0.0, tl.float32)
    for k in range(0, 320, 32):
        i5 = k + tl.arange(0, 32)
        a6 = i5 // 32
        a7 = i5 % 32
        v9 = tl.load(b16 + a6[None, :] * 640 + a7[None, :] * 20 + i2[:, None], mask=m3[:, None], other=0.0)
        v10 = tl.load(b25 + a6[:, None] * 2560 + a7[:, None] * 80 + i4[None, :])
        acc8 = tl.dot(v9, v10, acc8, input_precision="ieee", out_dtype=tl.float32)
    tl.store(b10 + i2[:, None] * 80 + i4[None, :], acc8, mask=(m3)[:, None])


@triton.jit
def k4_part1(part, b25, b11):
    pid = part
    i0 = pid * 8 + tl.arange(0, 8)
    i1 = tl.arange(0, 512)
    m2 = i1 < 320
    a3 = i1 // 32
    a4 = i1 % 32
    v5 = tl.load(b25 + a3[None, :] * 2560 + a4[None, :] * 80 + i0[:, None], mask=m2[None, :], other=0.0)
    v6 = tl.where(m2[None, :], v5, tl.full((), 0.0, tl.float32))
    v7 = tl.sum(v6, 1)
    tl.store(b11 + i0, v7)


@triton.jit
def k4_part2(part, b25, b1, b8):
    pid = part
    i0 = pid * 16 + tl.arange(0, 16)
    a1 = i0 // 10
    a2 = i0 % 10
    i3 = tl.arange(0, 8)
    acc6 = tl.full((16, 8), 0.0, tl.float32)
    for k in range(0, 80, 64):
        i4 = k + tl.arange(0, 64)
        m5 = i4 < 80
        v7 = tl.load(b25 + a2[:, None] * 2560 + a1[:, None] * 80 + i4[None, :], mask=m5[None, :], other=0.0)
        v8 = tl.load(b1 + i3[None, :] * 80 + i4[:, None], mask=m5[:, None], other=0.0)
        acc6 = tl.dot(v7, v8, acc6, input_precision="ieee", out_dtype=tl.float32)
    tl.store(b8 + a1[:, None] * 80 + a2[:, None] * 8 + i3[None, :], acc6)


@triton.jit
def k4_part3(part, b0, b25, b9):
    pid = part
    i0 = tl.arange(0, 8)
    i1 = pid * 16 + tl.arange(0, 16)
    acc5 = tl.full((8, 16), 0.0, tl.float32)
    for k in range(0, 320, 64):
        i2 = k + tl.arange(0, 64)
        a3 = i2 // 10
        a4 = i2 % 10
        v6 = tl.load(b0 + a3[None, :] * 80 + a4[None, :] * 8 + i0[:, None])
        v7 = tl.load(b25 + a4[:, None] * 2560 + a3[:, None] * 80 + i1[None, :])
        acc5 = tl.dot(v6, v7, acc5, input_precision="ieee", out_dtype=tl.float32)
    tl.store(b9 + i0[:, None] * 80 + i1[None, :], acc5)


@triton.jit
def k4(b16, b25, b1, b0, b10, b11, b8, b9):
    pid = tl.program_id(0)
    if pid < 10:
        k4_part0(pid, b16, b25, b10)
    elif pid < 20:
        k4_part1(pid - 10, b25, b11)
    elif pid < 40:
        k4_part2(pid - 20, b25, b1, b8)
    else:
        k4_part3(pid - 40, b0, b25, b9)
