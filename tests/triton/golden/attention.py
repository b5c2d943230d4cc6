import triton
import triton.language as tl


@triton.jit
def k0(b0, b10):
    pid = tl.program_id(0)
    i0 = pid * 256 + tl.arange(0, 256)
    a1 = i0 // 1280
    a2 = i0 // 640 % 2
    a3 = i0 // 16 % 40
    a4 = i0 % 16
    v5 = tl.load(b0 + a1 * 1280 + a2 * 640 + a3 * 16 + a4)
    v6 = (v5 * 0.25)
    tl.store(b10 + a1 * 1280 + a2 * 640 + a3 * 16 + a4, v6)


@triton.jit
def k1(b10, b1, b2, b4, b6, b11, b12):
    pid = tl.program_id(0)
    first = pid % 2 * 32
    t = first + tl.arange(0, 32)
    n1 = (pid // 2 % 2).to(tl.int64)
    n0 = (pid // 2 // 2 % 2).to(tl.int64)
    d = tl.arange(0, 16)
    v = tl.arange(0, 16)
    q = tl.load(b10 + d[None, :] + t[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(t[:, None] < 40), other=0)
    top = tl.full((32,), float('-inf'), tl.float32)
    total = tl.zeros((32,), tl.float32)
    acc = tl.zeros((32, 16), tl.float32)
    for k in range(0, 40, 32):
        s = k + tl.arange(0, 32)
        keys = tl.load(b1 + d[None, :] + s[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(s[:, None] < 40), other=0)
        values = tl.load(b2 + v[None, :] + s[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(s[:, None] < 40), other=0)
        p = tl.dot(q, tl.trans(keys), input_precision="ieee", out_dtype=tl.float32)
        allowed = (t[:, None] >= s[None, :]) & (tl.load(b4 + s[None, :] + n0 * 40, mask=(s[None, :] < 40), other=0).to(tl.int32) != 0)
        p = tl.where(allowed, p, -1000000000.0)
        p = tl.where(s[None, :] < 40, p, float('-inf'))
        higher = tl.maximum(top, tl.max(p, 1))
        p = tl.exp(p - higher[:, None])
        less = tl.exp(top - higher)
        total = total * less + tl.sum(p, 1)
        acc = tl.dot(p, values, acc * less[:, None], input_precision="ieee", out_dtype=tl.float32)
        top = higher
    tl.store(b6 + v[None, :] + t[:, None] * 16 + n1 * 640 + n0 * 1280, acc / total[:, None], mask=(t[:, None] < 40))
    tl.store(b11 + t + n1 * 40 + n0 * 80, top, mask=(t < 40))
    tl.store(b12 + t + n1 * 40 + n0 * 80, total, mask=(t < 40))


@triton.jit
def k2(b10, b1, b2, b4, b3, b11, b12, b6, b13, b14):
    pid = tl.program_id(0)
    first = pid % 2 * 32
    t = first + tl.arange(0, 32)
    n1 = (pid // 2 % 2).to(tl.int64)
    n0 = (pid // 2 // 2 % 2).to(tl.int64)
    d = tl.arange(0, 16)
    v = tl.arange(0, 16)
    q = tl.load(b10 + d[None, :] + t[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(t[:, None] < 40), other=0)
    g = tl.load(b3 + v[None, :] + t[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(t[:, None] < 40), other=0)
    o = tl.load(b6 + v[None, :] + t[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(t[:, None] < 40), other=0)
    delta = tl.sum(g.to(tl.float32) * o.to(tl.float32), 1)
    top = tl.load(b11 + t + n1 * 40 + n0 * 80, mask=(t < 40), other=0)
    total = tl.load(b12 + t + n1 * 40 + n0 * 80, mask=(t < 40), other=0)
    acc = tl.zeros((32, 16), tl.float32)
    for k in range(0, 40, 32):
        s = k + tl.arange(0, 32)
        keys = tl.load(b1 + d[None, :] + s[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(s[:, None] < 40), other=0)
        values = tl.load(b2 + v[None, :] + s[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(s[:, None] < 40), other=0)
        p = tl.dot(q, tl.trans(keys), input_precision="ieee", out_dtype=tl.float32)
        allowed = (t[:, None] >= s[None, :]) & (tl.load(b4 + s[None, :] + n0 * 40, mask=(s[None, :] < 40), other=0).to(tl.int32) != 0)
        p = tl.where(allowed, p, -1000000000.0)
        p = tl.exp(p - top[:, None]) / total[:, None]
        ds = p * (tl.dot(g, tl.trans(values), input_precision="ieee", out_dtype=tl.float32) - delta[:, None])
        ds = tl.where(allowed, ds, 0.0)
        ds = tl.where(t[:, None] < 40, ds, 0.0)
        ds = tl.where(s[None, :] < 40, ds, 0.0)
        acc = tl.dot(ds, keys, acc, input_precision="ieee", out_dtype=tl.float32)
    tl.store(b13 + d[None, :] + t[:, None] * 16 + n1 * 640 + n0 * 1280, acc, mask=(t[:, None] < 40))
    tl.store(b14 + t + n1 * 40 + n0 * 80, delta, mask=(t < 40))


@triton.jit
def k3(b10, b1, b2, b4, b3, b11, b12, b14, b8, b9):
    pid = tl.program_id(0)
    first = pid % 2 * 32
    s = first + tl.arange(0, 32)
    n1 = (pid // 2 % 2).to(tl.int64)
    n0 = (pid // 2 // 2 % 2).to(tl.int64)
    d = tl.arange(0, 16)
    v = tl.arange(0, 16)
    keys = tl.load(b1 + d[None, :] + s[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(s[:, None] < 40), other=0)
    values = tl.load(b2 + v[None, :] + s[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(s[:, None] < 40), other=0)
    dk = tl.zeros((32, 16), tl.float32)
    dv = tl.zeros((32, 16), tl.float32)
    for k in range(0, 40, 32):
        t = k + tl.arange(0, 32)
        q = tl.load(b10 + d[None, :] + t[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(t[:, None] < 40), other=0)
        g = tl.load(b3 + v[None, :] + t[:, None] * 16 + n1 * 640 + n0 * 1280, mask=(t[:, None] < 40), other=0)
        top = tl.load(b11 + t + n1 * 40 + n0 * 80, mask=(t < 40), other=0)
        total = tl.load(b12 + t + n1 * 40 + n0 * 80, mask=(t < 40), other=0)
        delta = tl.load(b14 + t + n1 * 40 + n0 * 80, mask=(t < 40), other=0)
        p = tl.dot(keys, tl.trans(q), input_precision="ieee", out_dtype=tl.float32)
        allowed = (t[None, :] >= s[:, None]) & (tl.load(b4 + s[:, None] + n0 * 40, mask=(s[:, None] < 40), other=0).to(tl.int32) != 0)
        p = tl.where(allowed, p, -1000000000.0)
        p = tl.exp(p - top[None, :]) / total[None, :]
        p = tl.where(s[:, None] < 40, p, 0.0)
        p = tl.where(t[None, :] < 40, p, 0.0)
        dv = tl.dot(p, g, dv, input_precision="ieee", out_dtype=tl.float32)
        ds = p * (tl.dot(values, tl.trans(g), input_precision="ieee", out_dtype=tl.float32) - delta[None, :])
        ds = tl.where(allowed, ds, 0.0)
        ds = tl.where(s[:, None] < 40, ds, 0.0)
        ds = tl.where(t[None, :] < 40, ds, 0.0)
        dk = tl.dot(ds, q, dk, input_precision="ieee", out_dtype=tl.float32)
    tl.store(b8 + d[None, :] + s[:, None] * 16 + n1 * 640 + n0 * 1280, dk, mask=(s[:, None] < 40))
    tl.store(b9 + v[None, :] + s[:, None] * 16 + n1 * 640 + n0 * 1280, dv, mask=(s[:, None] < 40))


@triton.jit
def k4(b13, b7):
    pid = tl.program_id(0)
    i0 = pid * 256 + tl.arange(0, 256)
    a1 = i0 // 1280
    a2 = i0 // 640 % 2
    a3 = i0 // 16 % 40
    a4 = i0 % 16
    v5 = tl.load(b13 + a1 * 1280 + a2 * 640 + a3 * 16 + a4)
    v6 = (v5 * 0.25)
    tl.store(b7 + a1 * 1280 + a2 * 640 + a3 * 16 + a4, v6)
