"""Models that define `train_step` and its kin: the same text in real Keras on PyTorch, or the default step, gives the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

RNG = np.random.default_rng(5)
X = RNG.standard_normal((40, 6)).astype("float32")
Y = RNG.standard_normal((40, 1)).astype("float32")
W = RNG.random(40).astype("float32")
FIT: dict[str, Any] = {"epochs": 2, "batch_size": 16, "shuffle": False, "verbose": 0}


def agree(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    assert sorted(ours) == sorted(theirs)
    for k, v in theirs.items():
        np.testing.assert_allclose(ours[k], v, rtol=2e-4, atol=1e-5, err_msg=k)


def twins(*makers: Any) -> tuple[list[Any], list[Any]]:
    """Each maker's model of real Keras and of ours, with equal weights."""
    theirs, ours = [m(keras) for m in makers], [m(kcompile) for m in makers]
    for a, b in zip(theirs, ours, strict=True):
        b.set_weights([np.asarray(w) for w in a.get_weights()])
    return theirs, ours


def same_weights(theirs: list[Any], ours: list[Any]) -> None:
    for a, b in zip(theirs, ours, strict=True):
        for v, w in zip(a.get_weights(), b.get_weights(), strict=True):
            np.testing.assert_allclose(w, v, rtol=2e-4, atol=1e-5)


def regressor(k: Any, base: Any = None) -> Any:
    i = k.Input((6,))
    return (base or k.Model)(i, k.layers.Dense(1)(k.layers.Dense(5, activation="tanh")(i)))


def torch_manner(k: Any) -> Any:
    """The step of Keras's guide for PyTorch."""

    class Mine(k.Model):  # type: ignore[misc, name-defined]
        def train_step(self, data: Any) -> Any:
            x, y, weight = k.utils.unpack_x_y_sample_weight(data)
            self.zero_grad()
            predicted = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=predicted, sample_weight=weight)
            loss.backward()
            variables = list(self.trainable_weights)
            with torch.no_grad():
                self.optimizer.apply([v.value.grad for v in variables], variables)
            return self._seen(loss, y, predicted, weight)

        def test_step(self, data: Any) -> Any:
            x, y, weight = k.utils.unpack_x_y_sample_weight(data)
            predicted = self(x, training=False)
            return self._seen(self.compute_loss(y=y, y_pred=predicted), y, predicted, weight)

        def _seen(self, loss: Any, y: Any, predicted: Any, weight: Any) -> Any:
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, predicted, sample_weight=weight)
            return {m.name: m.result() for m in self.metrics}

    return regressor(k, Mine)


@pytest.mark.parametrize("weight", [None, W])
def test_a_step_in_the_manner_of_pytorch(weight: Any) -> None:
    (theirs,), (ours,) = twins(torch_manner)
    for m in (theirs, ours):
        m.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    found = [
        m.fit(X, Y, sample_weight=weight, validation_data=(X, Y), **FIT) for m in (theirs, ours)
    ]
    agree(found[0].history, found[1].history)
    got = [m.train_on_batch(X[:7], Y[:7], return_dict=True) for m in (theirs, ours)]
    agree(_flat(got[0]), got[1])
    same_weights([theirs], [ours])


def _flat(logs: dict[str, Any]) -> dict[str, Any]:
    return {**logs, **logs.pop("compile_metrics", {})}


def gan(k: Any, discriminator: Any, generator: Any) -> Any:
    """Two models, two optimizers, updates in turn: the second loss sees what the first has updated."""
    ops = k.ops

    class Gan(k.Model):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.discriminator, self.generator = discriminator, generator
            self.seen = k.metrics.Mean(name="d_loss")
            self.built = True

        @property
        def metrics(self) -> Any:
            return [self.seen]

        def learn(self, loss: Any, model: Any, optimizer: Any) -> None:
            self.zero_grad()
            loss.backward()
            grads = [v.value.grad for v in model.trainable_weights]
            with torch.no_grad():
                optimizer.apply(grads, model.trainable_weights)

        def compile(self, first: Any, second: Any) -> None:
            super().compile()
            self.first, self.second = first, second
            self.loss_fn = k.losses.BinaryCrossentropy(from_logits=True)

        def train_step(self, real: Any) -> Any:
            n = ops.shape(real)[0]
            fake = self.generator(real[:, :3])
            labels = ops.concatenate([ops.ones((n, 1)), ops.zeros((n, 1))], axis=0)
            both = self.discriminator(ops.concatenate([fake, real], axis=0))
            loss = self.loss_fn(labels, both)
            self.learn(loss, self.discriminator, self.first)
            self.seen.update_state(loss)
            fooled = self.discriminator(self.generator(real[:, :3]))
            other = self.loss_fn(ops.zeros((n, 1)), fooled)
            self.learn(other, self.generator, self.second)
            return {"d_loss": self.seen.result(), "g_loss": other}

    return Gan()


def test_two_optimizers_in_one_step() -> None:
    parts = [
        lambda k: k.Sequential([
            k.Input((6,)), k.layers.Dense(5), k.layers.LeakyReLU(), k.layers.Dense(1)
        ]),
        lambda k: k.Sequential([k.Input((3,)), k.layers.Dense(6, activation="tanh")]),
    ]  # fmt: skip
    theirs, ours = twins(*parts)
    found = []
    for k, models in ((keras, theirs), (kcompile, ours)):
        m = gan(k, *models)
        m.compile(k.optimizers.Adam(1e-2), k.optimizers.SGD(0.1))
        found.append(m.fit(X, **FIT).history)
    agree(*found)
    same_weights(theirs, ours)


def test_metrics_of_ones_own() -> None:
    def build(k: Any) -> Any:
        class Mine(k.Model):  # type: ignore[misc, name-defined]
            def compute_metrics(
                self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
            ) -> Any:
                logs = super().compute_metrics(x, y, y_pred, sample_weight)
                return {**logs, "size": k.ops.mean(k.ops.abs(y_pred))}

            def train_step(self, data: Any) -> Any:
                x, y = data
                return super().train_step((x * 2, y))

            def predict_step(self, data: Any) -> Any:
                return {"twice": 2 * super().predict_step(data)}

        return regressor(k, Mine)

    (theirs,), (ours,) = twins(build)
    for m in (theirs, ours):
        m.compile("sgd", "mse", metrics=["mae"])
    found = [m.fit(X, Y, validation_data=(X, Y), **FIT).history for m in (theirs, ours)]
    agree(*found)
    agree(*(m.evaluate(X, Y, verbose=0, return_dict=True) for m in (theirs, ours)))
    agree(*(m.predict(X, batch_size=16, verbose=0) for m in (theirs, ours)))


class Taped(kcompile.Model):
    """The default step, written with a tape."""

    def train_step(self, data: Any) -> Any:
        x, y = data
        with kcompile.GradientTape() as tape:
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        variables = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        self.loss_tracker.update_state(loss, sample_weight=kcompile.ops.shape(x)[0])
        return {"loss": self.loss_tracker.result()}


def test_a_tape_is_the_default_step() -> None:
    plain, taped = regressor(kcompile), regressor(kcompile, Taped)
    taped.set_weights(plain.get_weights())
    for m in (plain, taped):
        m.compile("adam", "mse")
    assert plain.fit(X, Y, **FIT).history == taped.fit(X, Y, **FIT).history
    for a, b in zip(plain.get_weights(), taped.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def results_of(step: Any, x: Any = X) -> dict[str, Any]:
    """What a step of a model gives for `x`: `step(model, x)`."""
    made = type("Mine", (kcompile.Model,), {"train_step": step})()
    made.w = kcompile.Variable(np.float32(3.0), name="w")
    made.compile("sgd")
    out: dict[str, Any] = made.train_on_batch(x, return_dict=True)
    return out


def test_what_was_computed_before_a_tape_is_constant() -> None:
    ops = kcompile.ops

    def step(self: Any, x: Any) -> Any:
        before = self.w * self.w
        with kcompile.GradientTape() as tape:
            inside = self.w * self.w
            loss = ops.sum(before * inside)
        return {"g": tape.gradient(loss, self.w)}

    assert results_of(step)["g"] == 9 * 2 * 3


def test_a_value_assigned_in_a_step_is_a_beginning() -> None:
    def step(self: Any, x: Any) -> Any:
        self.w.assign(self.w * self.w)
        with kcompile.GradientTape() as tape:
            loss = self.w * self.w
        return {"g": tape.gradient(loss, [self.w])[0]}

    assert results_of(step)["g"] == 2 * 9


def test_the_gradient_of_a_gradient_and_what_depends_on_nothing() -> None:
    ops = kcompile.ops

    def step(self: Any, x: Any) -> Any:
        with kcompile.GradientTape() as outer:
            with kcompile.GradientTape() as inner:
                inner.watch(x)
                y = ops.sum(x * x * x) * self.w
            (g,) = inner.gradient(y, [x])
            size = ops.sum(g)
        none = outer.gradient(size, x[:1])
        zero = outer.gradient(size, x[:1], unconnected_gradients="zero")
        return {
            "by_w": outer.gradient(size, self.w),
            "none": float(none is None),
            "zero": ops.sum(zero),
        }

    found = results_of(step, np.array([1.0, 2.0], "float32"))
    assert found == {"by_w": 3 + 12, "none": 1.0, "zero": 0.0}
