import triton
import triton.language as tl


@triton.jit
def k0(b3, b4, b0, b1, b2, b5, b6):
    pid = tl.program_id(0)
    i0 = tl.arange(0, 32)
    i1 = pid * 16 + tl.arange(0, 16)
    acc4 = tl.full((32, 16), 0.0, tl.float32)
    for k in range(0, 100, 64):
        i2 = k + tl.arange(0, 64)
        m3 = i2 < 100
        v5 = tl.load(b0 + i0[:, None] * 100 + i2[None, :], mask=m3[None, :], other=0.0)
        v6 = tl.load(b1 + i2[:, None] * 64 + i1[None, :], mask=m3[:, None], other=0.0)
        acc4 = tl.dot(v5, v6, acc4, input_precision="ieee", out_dtype=tl.float32)
    v7 = tl.load(b3)
    v8 = tl.load(b4)
    key9 = (v8.to(tl.uint64) << 32) | (v7.to(tl.uint32) + tl.full((), 2654435769, tl.uint32)).to(tl.uint64)
    q10 = pid * 4 + tl.arange(0, 4)
    q11 = q10[None, :] + i0[:, None] * 16
    w12_0, w12_1, w12_2, w12_3 = tl.randint4x(key9, q11)
    v12 = tl.reshape(tl.join(tl.join(w12_0, w12_2), tl.join(w12_1, w12_3)), (32, 16)).to(tl.uint32, bitcast=True)
    v13 = tl.uint_to_uniform_float(v12)
    v14 = (v13 > 0.2)
    v15 = tl.load(b2 + i1)
    v16 = (acc4 + v15[None, :])
    v17 = tl.maximum(v16, tl.full((), 0.0, tl.float32), propagate_nan=tl.PropagateNan.ALL)
    v18 = tl.where(v14, v17, tl.full((), 0.0, tl.float32))
    v19 = tl.sum(v18, 0)
    tl.store(b5 + i0[:, None] * 64 + i1[None, :], v18)
    tl.store(b6 + i1, v19)
