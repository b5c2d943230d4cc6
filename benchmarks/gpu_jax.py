"""The models of the benchmarks as hand-written, jitted JAX: what someone writes who knows JAX well and uses it alone.

Parameters are dicts, a step is one jitted function that donates its state, loops over time are `lax.scan`; Adam by hand. Data lie on
the device, a batch is gathered inside the step. An epoch is a loop of calls, or one jitted `lax.scan` of steps. Refuses to be a
library: only what the ten models need.
"""

import jax
import jax.numpy as jnp
from jax import lax
from models import BCE, CCE, MODELS


def glorot(key, *shape):
    limit = (6 / (shape[-1] + shape[-2] * (shape[0] * shape[1] if len(shape) == 4 else 1))) ** 0.5
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


class Params:
    """Makes parameters in the order they are asked for: p("w", 3, 4) is glorot, p("b", 4, fill=0) is constant."""

    def __init__(self, seed=0):
        self.key, self.made = jax.random.key(seed), {}

    def __call__(self, name, *shape, fill=None):
        self.key, key = jax.random.split(self.key)
        self.made[name] = glorot(key, *shape) if fill is None else jnp.full(shape, float(fill))


def dense(p, name, x):
    return x @ p[name + "w"] + p[name + "b"]


def conv(p, name, x, stride=1, padding="VALID", groups=1):
    w = p[name + "w"]
    return lax.conv_general_dilated(
        x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )  # fmt: skip


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def norm(x, p, name, axes, eps):
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) * lax.rsqrt(var + eps) * p[name + "g"] + p[name + "b"]


def lstm(p, name, x, state=None):
    """x [N, T, C] -> outputs [T, N, H], (h, c)."""
    u = p[name + "u"]
    z = jnp.swapaxes(x @ p[name + "w"] + p[name + "b"], 0, 1)
    h0 = jnp.zeros((x.shape[0], u.shape[0]), x.dtype)

    def step(carry, zt):
        h, c = carry
        i, f, g, o = jnp.split(zt + h @ u, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    carry, out = lax.scan(step, (h0, h0) if state is None else state, z)
    return out, carry


def gru(p, name, x, mask, reverse):
    u = p[name + "u"]
    z = jnp.swapaxes(x @ p[name + "w"] + p[name + "b"], 0, 1)
    h0 = jnp.zeros((x.shape[0], u.shape[0]), x.dtype)

    def step(h, both):
        zt, on = both
        a = h @ u + p[name + "r"]
        zz, zr, zh = jnp.split(zt, 3, -1)
        az, ar, ah = jnp.split(a, 3, -1)
        keep, reset = jax.nn.sigmoid(zz + az), jax.nn.sigmoid(zr + ar)
        new = keep * h + (1 - keep) * jnp.tanh(zh + reset * ah)
        return jnp.where(on[:, None], new, h), None

    return lax.scan(step, h0, (z, mask.T), reverse=reverse)[0]


def mlp(p):
    p("1w", 784, 128), p("1b", 128, fill=0), p("2w", 128, 10), p("2b", 10, fill=0)

    def run(p, key, x):
        h = jax.nn.relu(dense(p, "1", x.reshape(len(x), -1)))
        h = jnp.where(jax.random.bernoulli(key, 0.8, h.shape), h / 0.8, 0)
        return dense(p, "2", h)

    return run


def binary_mlp(p):
    p("1w", 100, 64), p("1b", 64, fill=0), p("2w", 64, 1), p("2b", 1, fill=0)
    return lambda p, key, x: dense(p, "2", jax.nn.relu(dense(p, "1", x)))


def cnn(channels, sizes, last, hidden):
    def make(p):
        i = channels
        for k, o in enumerate(sizes):
            p(f"c{k}w", 3, 3, i, o), p(f"c{k}b", o, fill=0)
            i = o
        n = last
        if hidden:
            p("1w", n, hidden), p("1b", hidden, fill=0)
            n = hidden
        p("2w", n, 10), p("2b", 10, fill=0)

        def run(p, key, x):
            for k in range(len(sizes)):
                x = jax.nn.relu(conv(p, f"c{k}", x) + p[f"c{k}b"])
                x = pool(x) if k < 2 else x
            x = x.reshape(len(x), -1)
            x = jax.nn.relu(dense(p, "1", x)) if hidden else x
            return dense(p, "2", x)

        return run

    return make


def separable_cnn(p):
    p("1w", 3, 3, 3, 32), p("1b", 32, fill=0), p("ow", 128, 10), p("ob", 10, fill=0)
    for k, (i, o) in enumerate(((32, 64), (64, 128))):
        p(f"d{k}w", 3, 3, 1, i), p(f"p{k}w", 1, 1, i, o), p(f"p{k}b", o, fill=0)

    def run(p, key, x):
        x = jax.nn.relu(conv(p, "1", x, 2, "SAME") + p["1b"])
        for k in range(2):
            x = conv(p, f"d{k}", x, 1, "SAME", groups=x.shape[-1])
            x = jax.nn.relu(conv(p, f"p{k}", x) + p[f"p{k}b"])
            x = pool(x) if k == 0 else x
        return dense(p, "o", x.mean((1, 2)))

    return run


def lstm_imdb(p):
    p("e", 10000, 32), p("rw", 32, 128), p("ru", 32, 128), p("rb", 128, fill=0)
    p("ow", 32, 1), p("ob", 1, fill=0)
    return lambda p, key, x: dense(p, "o", lstm(p, "r", p["e"][x])[1][0])


def gru_words(p):
    p("e", 5000, 32), p("ow", 128, 1), p("ob", 1, fill=0)
    for d in "fb":
        p(d + "w", 32, 192), p(d + "u", 64, 192), p(d + "b", 192, fill=0), p(d + "r", 192, fill=0)

    def run(p, key, x):
        e, mask = p["e"][x], x != 0
        both = [gru(p, d, e, mask, d == "b") for d in "fb"]
        return dense(p, "o", jnp.concatenate(both, -1))

    return run


def seq2seq_lstm(p):
    for d in "st":
        p(d + "e", 2000, 64), p(d + "w", 64, 256), p(d + "u", 64, 256), p(d + "b", 256, fill=0)
    p("ow", 64, 2000), p("ob", 2000, fill=0)

    def run(p, key, s, t):
        _, state = lstm(p, "s", p["se"][s])
        out, _ = lstm(p, "t", p["te"][t], state)
        return dense(p, "o", jnp.swapaxes(out, 0, 1))

    return run


def resnet_small(p):
    def cbn(name, k, i, o):
        p(name + "w", k, k, i, o), p(name + "g", o, fill=1), p(name + "b", o, fill=0)

    plan, i = [], 16
    cbn("s", 3, 3, 16)
    for si, w in enumerate((16, 32, 64)):
        for bi in range(2):
            stride = 2 if si and bi == 0 else 1
            name = f"{si}{bi}"
            cbn(name + "x", 3, i, w), cbn(name + "y", 3, w, w)
            if stride == 2:
                cbn(name + "z", 1, i, w)
            plan.append((name, stride))
            i = w
    p("ow", 64, 10), p("ob", 10, fill=0)

    def run(p, key, x):
        block = lambda n, v, s=1: norm(conv(p, n, v, s, "SAME"), p, n, (0, 1, 2), 1e-3)
        x = jax.nn.relu(block("s", x))
        for name, stride in plan:
            short = block(name + "z", x, 2) if stride == 2 else x
            h = block(name + "y", jax.nn.relu(block(name + "x", x, stride)))
            x = jax.nn.relu(h + short)
        return dense(p, "o", x.mean((1, 2)))

    return run


def transformer_small(p):
    p("e", 8000, 128), p("pos", 128, 128), p("ow", 128, 2), p("ob", 2, fill=0)
    for k in "ab":
        for n, i, o in (("q", 128, 384), ("p", 128, 128), ("1", 128, 512), ("2", 512, 128)):
            p(k + n + "w", i, o), p(k + n + "b", o, fill=0)
        for n in "xy":
            p(k + n + "g", 128, fill=1), p(k + n + "b", 128, fill=0)

    def run(p, key, x):
        x = p["e"][x] + p["pos"]
        n, s, d = x.shape
        for k in "ab":
            q, key_, v = jnp.split(dense(p, k + "q", x).reshape(n, s, 12, 32), 3, 2)
            a = jax.nn.dot_product_attention(q, key_, v).reshape(n, s, d)
            x = norm(x + dense(p, k + "p", a), p, k + "x", -1, 1e-6)
            h = dense(p, k + "2", jax.nn.gelu(dense(p, k + "1", x), approximate=False))
            x = norm(x + h, p, k + "y", -1, 1e-6)
        return dense(p, "o", x.mean(1))

    return run


MAKE = {
    "mlp": mlp, "binary_mlp": binary_mlp, "cnn_mnist": cnn(1, (32, 64, 64), 576, 64),
    "cnn_cifar": cnn(3, (32, 64), 2304, 0), "separable_cnn": separable_cnn, "lstm_imdb": lstm_imdb,
    "gru_words": gru_words, "seq2seq_lstm": seq2seq_lstm, "resnet_small": resnet_small,
    "transformer_small": transformer_small,
}  # fmt: skip


def loss_of(kind, out, y):
    out = out.astype(jnp.float32)
    if kind == BCE:
        return jnp.mean(jnp.maximum(out, 0) - out * y + jnp.log1p(jnp.exp(-jnp.abs(out))))
    logs = jax.nn.log_softmax(out)
    if kind == CCE:
        return -jnp.mean((logs * y).sum(-1))
    return -jnp.mean(jnp.take_along_axis(logs, y[..., None], -1))


def trainer(name, batch, xs, y, half=False, whole=False):
    """A function that trains so many steps, an epoch over the first steps * batch samples, and returns the mean loss.

    half: in bfloat16 but for parameters and loss. whole: an epoch is one call.
    """
    params = Params()
    run, kind = MAKE[name](params), MODELS[name]["loss"]
    zeros = lambda: jax.tree.map(jnp.zeros_like, params.made)
    put = lambda v: jax.device_put(
        v, jax.devices()[0]
    )  # where it stays: no call compiles anew for that
    state = put([params.made, zeros(), zeros(), jnp.zeros(()), jax.random.key(1), jnp.zeros(())])
    data = [put(v) for v in (*xs, y)]

    def step(state, data, at):
        w, m, v, count, key, total = state
        key, drop = jax.random.split(key)
        *inputs, target = (d[at] for d in data)

        def loss(w):
            if half:
                w = jax.tree.map(lambda a: a.astype(jnp.bfloat16), w)
                cast = [i.astype(jnp.bfloat16) if i.dtype == jnp.float32 else i for i in inputs]
            else:
                cast = inputs
            return loss_of(kind, run(w, drop, *cast), target)

        value, g = jax.value_and_grad(loss)(w)
        count = count + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        w = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), w, m, v)
        return [w, m, v, count, key, total + value]

    def steps_of(state, data, order):
        return lax.scan(lambda s, at: (step(s, data, at), None), state, order)[0]

    one, all_ = (jax.jit(f, donate_argnums=0) for f in (step, steps_of))
    shuffled = jax.jit(jax.random.permutation, static_argnums=1)

    def epoch(steps):
        nonlocal state
        state[4], key = jax.random.split(state[4])
        order = shuffled(key, steps * batch).reshape(steps, batch)
        state[5] = put(jnp.zeros(()))
        if whole:
            state = all_(state, data, order)
        else:
            for at in list(order):
                state = one(state, data, at)
        return float(state[5]) / steps

    return epoch
