"""The models and data that are measured, for Keras (whichever is imported as `keras`) and for PyTorch."""

# Each entry: data(rng, n) -> (inputs list, y);  loss = keras loss;  fwd FLOPs list via helpers below.
MAX_SAMPLES = 6400


def _img(shape, classes, onehot=False):
    def make(rng, n):
        import numpy as np

        x = rng.random((n, *shape), dtype=np.float32)
        y = rng.integers(0, classes, n).astype("int32")
        return [x], (np.eye(classes, dtype="float32")[y] if onehot else y)

    return make


def _tok(vocab, length, classes):
    def make(rng, n):
        x = rng.integers(1, vocab, (n, length)).astype("int32")
        y = (
            rng.integers(0, 2, (n, 1)).astype("float32")
            if classes == 1
            else rng.integers(0, classes, n).astype("int32")
        )
        return [x], y

    return make


def _words(vocab, length):
    """Sentences of all lengths, padded with 0 at the end."""

    def make(rng, n):
        import numpy as np

        x = rng.integers(1, vocab, (n, length)).astype("int32")
        x *= np.arange(length) < rng.integers(1, length + 1, (n, 1))
        return [x], rng.integers(0, 2, (n, 1)).astype("float32")

    return make


def _vec(rng, n):
    import numpy as np

    return [rng.random((n, 100), dtype=np.float32)], rng.integers(0, 2, (n, 1)).astype("float32")


def _s2s(rng, n):
    draw = lambda: rng.integers(1, 2000, (n, 20)).astype("int32")
    return [draw(), draw()], draw()


# GEMM-like FLOPs per sample, fwd; `first` layers need no input gradient so bwd is 1x fwd, else 2x.
def _d(i, o, first=False, rows=1):
    f = 2 * rows * i * o
    return f, (f if first else 2 * f)


def _c(hw, k, i, o, first=False):
    return _d(k * k * i, o, first, rows=hw * hw)


def _resnet_flops():
    out, cin, hw = [_c(32, 3, 3, 16, True)], 16, 32
    for si, w in enumerate((16, 32, 64)):
        for bi in range(2):
            if si and bi == 0:
                hw //= 2
                out.append(_c(hw, 1, cin, w))  # 1x1 projection shortcut
            out += [_c(hw, 3, cin, w), _c(hw, 3, w, w)]
            cin = w
    return out + [_d(64, 10)]


def _tfm_flops(S=128, D=128):
    blk = [_d(D, D, rows=S)] * 4 + [_d(S, D, rows=S)] * 2 + [_d(D, 512, rows=S), _d(512, D, rows=S)]
    return blk * 2 + [_d(D, 2)]


SCE, CCE, BCE = "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"
MODELS = {
    "mlp": dict(data=_img((28, 28), 10), loss=SCE, fl=[_d(784, 128, True), _d(128, 10)]),
    "cnn_mnist": dict(
        data=_img((28, 28, 1), 10),
        loss=SCE,
        fl=[_c(26, 3, 1, 32, True), _c(11, 3, 32, 64), _c(3, 3, 64, 64), _d(576, 64), _d(64, 10)],
    ),
    "cnn_cifar": dict(
        data=_img((32, 32, 3), 10, True),
        loss=CCE,
        fl=[_c(30, 3, 3, 32, True), _c(13, 3, 32, 64), _d(2304, 10)],
    ),
    "lstm_imdb": dict(data=_tok(10000, 200, 1), loss=BCE, fl=[_d(64, 128, rows=200), _d(32, 1)]),
    "gru_words": dict(
        data=_words(5000, 100),
        loss=BCE,
        fl=[_d(32, 192, rows=100), _d(64, 192, rows=100)] * 2 + [_d(128, 1)],
    ),
    "separable_cnn": dict(
        data=_img((64, 64, 3), 10),
        loss=SCE,
        fl=[_c(32, 3, 3, 32, True), _c(32, 1, 32, 64), _c(16, 1, 64, 128), _d(128, 10)],
    ),
    "binary_mlp": dict(data=_vec, loss=BCE, fl=[_d(100, 64, True), _d(64, 1)]),
    "resnet_small": dict(data=_img((32, 32, 3), 10), loss=SCE, fl=_resnet_flops()),
    "transformer_small": dict(data=_tok(8000, 128, 2), loss=SCE, fl=_tfm_flops()),
    "seq2seq_lstm": dict(
        data=_s2s, loss=SCE, fl=[_d(128, 256, rows=20)] * 2 + [_d(64, 2000, rows=20)]
    ),
}


def step_flops(name, batch):
    return batch * sum(f + b for f, b in MODELS[name]["fl"])


def keras_model(name, keras=None):
    """The model of a name, made by the module `keras` (default: what `import keras` gives)."""
    if keras is None:
        import keras
    L, S = keras.layers, keras.Sequential
    if name == "mlp":
        return S(
            [
                keras.Input((28, 28)),
                L.Flatten(),
                L.Dense(128, activation="relu"),
                L.Dropout(0.2),
                L.Dense(10, activation="softmax"),
            ]
        )
    if name == "cnn_mnist":
        return S(
            [
                keras.Input((28, 28, 1)),
                L.Conv2D(32, 3, activation="relu"),
                L.MaxPooling2D(2),
                L.Conv2D(64, 3, activation="relu"),
                L.MaxPooling2D(2),
                L.Conv2D(64, 3, activation="relu"),
                L.Flatten(),
                L.Dense(64, activation="relu"),
                L.Dense(10, activation="softmax"),
            ]
        )
    if name == "cnn_cifar":
        return S(
            [
                keras.Input((32, 32, 3)),
                L.Conv2D(32, 3, activation="relu"),
                L.MaxPooling2D(2),
                L.Conv2D(64, 3, activation="relu"),
                L.MaxPooling2D(2),
                L.Flatten(),
                L.Dense(10, activation="softmax"),
            ]
        )
    if name == "lstm_imdb":
        return S(
            [
                keras.Input((200,), dtype="int32"),
                L.Embedding(10000, 32),
                L.LSTM(32),
                L.Dense(1, activation="sigmoid"),
            ]
        )
    if name == "gru_words":
        return S(
            [
                keras.Input((100,), dtype="int32"),
                L.Embedding(5000, 32, mask_zero=True),
                L.Bidirectional(L.GRU(64)),
                L.Dense(1, activation="sigmoid"),
            ]
        )
    if name == "separable_cnn":
        return S(
            [
                keras.Input((64, 64, 3)),
                L.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
                L.SeparableConv2D(64, 3, padding="same", activation="relu"),
                L.MaxPooling2D(2),
                L.SeparableConv2D(128, 3, padding="same", activation="relu"),
                L.GlobalAveragePooling2D(),
                L.Dense(10, activation="softmax"),
            ]
        )
    if name == "binary_mlp":
        return S(
            [keras.Input((100,)), L.Dense(64, activation="relu"), L.Dense(1, activation="sigmoid")]
        )
    if name == "resnet_small":

        def cbn(x, w, s=1, k=3):
            return L.BatchNormalization()(
                L.Conv2D(w, k, strides=s, padding="same", use_bias=False)(x)
            )

        inp = keras.Input((32, 32, 3))
        x = L.ReLU()(cbn(inp, 16))
        for si, w in enumerate((16, 32, 64)):
            for bi in range(2):
                s = 2 if si and bi == 0 else 1
                sc = cbn(x, w, s, 1) if s == 2 else x
                h = cbn(L.ReLU()(cbn(x, w, s)), w)
                x = L.ReLU()(L.Add()([h, sc]))
        x = L.GlobalAveragePooling2D()(x)
        return keras.Model(inp, L.Dense(10, activation="softmax")(x))
    if name == "transformer_small":

        class TokenAndPosition(L.Layer):  # as in the Keras text-classification example
            def __init__(self):
                super().__init__()
                self.tok, self.pos = L.Embedding(8000, 128), L.Embedding(128, 128)

            def call(self, x):
                return self.tok(x) + self.pos(keras.ops.arange(128))

        inp = keras.Input((128,), dtype="int32")
        x = TokenAndPosition()(inp)
        for _ in range(2):
            x = L.LayerNormalization(epsilon=1e-6)(L.Add()([x, L.MultiHeadAttention(4, 32)(x, x)]))
            x = L.LayerNormalization(epsilon=1e-6)(
                L.Add()([x, L.Dense(128)(L.Dense(512, activation="gelu")(x))])
            )
        return keras.Model(inp, L.Dense(2, activation="softmax")(L.GlobalAveragePooling1D()(x)))
    if name == "seq2seq_lstm":
        src, tgt = keras.Input((20,), dtype="int32"), keras.Input((20,), dtype="int32")
        _, h, c = L.LSTM(64, return_state=True)(L.Embedding(2000, 64)(src))
        y = L.LSTM(64, return_sequences=True)(L.Embedding(2000, 64)(tgt), initial_state=[h, c])
        return keras.Model([src, tgt], L.Dense(2000, activation="softmax")(y))
    raise SystemExit("unknown model " + name)


def torch_model(name):
    import torch.nn.functional as F
    from torch import nn

    if name == "mlp":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10)
        )
    if name == "binary_mlp":
        return nn.Sequential(nn.Linear(100, 64), nn.ReLU(), nn.Linear(64, 1))
    if name == "cnn_mnist":
        return nn.Sequential(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(576, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )
    if name == "cnn_cifar":
        return nn.Sequential(
            nn.Conv2d(3, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2304, 10),
        )

    if name == "separable_cnn":
        separable = lambda i, o: (
            nn.Conv2d(i, i, 3, 1, 1, groups=i, bias=False),
            nn.Conv2d(i, o, 1),
        )
        return nn.Sequential(
            nn.Conv2d(3, 32, 3, 2, 1),
            nn.ReLU(),
            *separable(32, 64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            *separable(64, 128),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, 10),
        )

    class GruWords(nn.Module):  # without the mask: packed sequences wait for the host
        def __init__(self):
            super().__init__()
            self.e, self.o = nn.Embedding(5000, 32), nn.Linear(128, 1)
            self.r = nn.GRU(32, 64, batch_first=True, bidirectional=True)

        def forward(self, x):
            return self.o(self.r(self.e(x))[1].permute(1, 0, 2).flatten(1))

    class LstmImdb(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.r, self.o = (
                nn.Embedding(10000, 32),
                nn.LSTM(32, 32, batch_first=True),
                nn.Linear(32, 1),
            )

        def forward(self, x):
            return self.o(self.r(self.e(x))[0][:, -1])

    class Block(nn.Module):
        def __init__(self, i, w, s):
            super().__init__()
            self.c1, self.b1 = nn.Conv2d(i, w, 3, s, 1, bias=False), nn.BatchNorm2d(w)
            self.c2, self.b2 = nn.Conv2d(w, w, 3, 1, 1, bias=False), nn.BatchNorm2d(w)
            self.sc = (
                nn.Sequential(nn.Conv2d(i, w, 1, s, bias=False), nn.BatchNorm2d(w))
                if s == 2
                else nn.Identity()
            )

        def forward(self, x):
            return F.relu(self.b2(self.c2(F.relu(self.b1(self.c1(x))))) + self.sc(x))

    class Resnet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
            )
            chain, cin = [], 16
            for si, w in enumerate((16, 32, 64)):
                for bi in range(2):
                    chain.append(Block(cin, w, 2 if si and bi == 0 else 1))
                    cin = w
            self.blocks, self.o = nn.Sequential(*chain), nn.Linear(64, 10)

        def forward(self, x):
            return self.o(self.blocks(self.stem(x)).mean((2, 3)))

    class Enc(nn.Module):
        def __init__(self, d=128, h=4):
            super().__init__()
            self.h, self.qkv, self.p = h, nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.n1, self.n2 = nn.LayerNorm(d, 1e-6), nn.LayerNorm(d, 1e-6)
            self.f1, self.f2 = nn.Linear(d, 512), nn.Linear(512, d)

        def forward(self, x):
            B, S, D = x.shape
            q, k, v = self.qkv(x).view(B, S, 3, self.h, D // self.h).permute(2, 0, 3, 1, 4)
            a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, S, D)
            x = self.n1(x + self.p(a))
            return self.n2(x + self.f2(F.gelu(self.f1(x))))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.e, self.pos = nn.Embedding(8000, 128), nn.Embedding(128, 128)
            self.b, self.o = nn.Sequential(Enc(), Enc()), nn.Linear(128, 2)

        def forward(self, x):
            return self.o(self.b(self.e(x) + self.pos.weight).mean(1))

    class Seq2seq(nn.Module):
        def __init__(self):
            super().__init__()
            self.es, self.et = nn.Embedding(2000, 64), nn.Embedding(2000, 64)
            self.enc, self.dec = (
                nn.LSTM(64, 64, batch_first=True),
                nn.LSTM(64, 64, batch_first=True),
            )
            self.o = nn.Linear(64, 2000)

        def forward(self, s, t):
            return self.o(self.dec(self.et(t), self.enc(self.es(s))[1])[0])

    return {
        "gru_words": GruWords,
        "lstm_imdb": LstmImdb,
        "resnet_small": Resnet,
        "transformer_small": Transformer,
        "seq2seq_lstm": Seq2seq,
    }[name]()


CONV = ("cnn_mnist", "cnn_cifar", "separable_cnn", "resnet_small")
