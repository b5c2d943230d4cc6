"""Each optimizer against real Keras: equal gradients in, equal variables out, after several steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile.constraints as constraints
import kcompile.optimizers as optimizers
import kcompile.optimizers.schedules as schedules
from kcompile.trace import Trace
from kcompile.variable import Variable
from tests.training.oracle import close, keras, traced

SHAPES = ((3, 4), (4,), (2, 3, 2))
STEPS = 5

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"clipnorm": 0.5}),
    ("SGD", {"clipvalue": 0.3}),
    ("SGD", {"global_clipnorm": 0.7}),
    ("SGD", {"global_clipnorm": 1e6}),
    ("SGD", {"use_ema": True, "ema_momentum": 0.8}),
    ("SGD", {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2}),
    ("SGD", {"loss_scale_factor": 4.0}),
    ("SGD", {"momentum": 0.5, "gradient_accumulation_steps": 2}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True, "rho": 0.8, "epsilon": 1e-3}),
    ("Adam", {}),
    ("Adam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"weight_decay": 0.05, "clipnorm": 1.0}),
    ("Adam", {"gradient_accumulation_steps": 3, "clipvalue": 0.5}),
    ("Adam", {"use_ema": True, "gradient_accumulation_steps": 2}),
    ("AdamW", {}),
    ("AdamW", {"weight_decay": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"initial_accumulator_value": 0.5, "epsilon": 1e-3}),
    ("Nadam", {}),
    ("Nadam", {"learning_rate": 0.02, "beta_1": 0.8}),
    ("Adadelta", {}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.9}),
    ("Adamax", {}),
    ("Lion", {}),
    ("Lion", {"weight_decay": 0.1, "beta_1": 0.8}),
    ("Ftrl", {}),
    (
        "Ftrl",
        {
            "learning_rate": 0.1,
            "l1_regularization_strength": 0.01,
            "l2_regularization_strength": 0.02,
        },
    ),
    ("Ftrl", {"learning_rate": 0.1, "l2_shrinkage_regularization_strength": 0.03, "beta": 0.1}),
    ("Lamb", {}),
    ("Adafactor", {}),
    ("Adafactor", {"learning_rate": 0.1, "clip_threshold": 0.5}),
    ("Muon", {}),
    ("Muon", {"learning_rate": 0.1, "nesterov": False, "rms_rate": None, "exclude_layers": ["v0"]}),
]
IDS = [f"{n}-{'-'.join(f'{k}={v}' for k, v in c.items())}" for n, c in CASES]


def start() -> list[np.ndarray]:
    r = np.random.default_rng(3)
    return [r.normal(size=s).astype(np.float32) for s in SHAPES]


def gradients_of_steps() -> list[list[np.ndarray]]:
    r = np.random.default_rng(4)
    return [[r.normal(size=s).astype(np.float32) for s in SHAPES] for _ in range(STEPS)]


def ours_and_theirs(constraint: Any = None) -> tuple[list[Variable], list[Any]]:
    ours = [Variable(a, name=f"v{i}") for i, a in enumerate(start())]
    theirs = [keras.Variable(a, name=f"v{i}") for i, a in enumerate(start())]
    if constraint:
        ours[0].constraint = constraints.get(constraint)
        theirs[0].constraint = keras.constraints.get(constraint)
    return ours, theirs


def compare_states(ours: Any, theirs: Any) -> None:
    assert len(ours.variables) == len(theirs.variables)
    for a, b in zip(ours.variables, theirs.variables, strict=True):
        close(a.numpy(), b.numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("mode", ["eager", "traced"])
@pytest.mark.parametrize("name, kwargs", CASES, ids=IDS)
def test_steps(name: str, kwargs: Any, mode: str) -> None:
    ours, theirs = getattr(optimizers, name)(**kwargs), getattr(keras.optimizers, name)(**kwargs)
    a, b = ours_and_theirs()
    ours.build(a)
    theirs.build(b)
    for grads in gradients_of_steps():
        theirs.apply([keras.ops.convert_to_tensor(g) for g in grads])
        if mode == "eager":
            ours.apply(grads)
        else:
            traced(lambda *g: ours.apply(list(g)), *grads, batch=False)
        for v, w in zip(a, b, strict=True):
            close(v.numpy(), w.numpy(), rtol=2e-5, atol=2e-6)
    compare_states(ours, theirs)
    ours.finalize_variable_values(a)
    theirs.finalize_variable_values(b)
    for v, w in zip(a, b, strict=True):
        close(v.numpy(), w.numpy())


@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_schedule_free(warmup_steps: int) -> None:
    """Against its formula in float64: Keras on PyTorch reads the momentum after it was overwritten."""
    a, _ = ours_and_theirs()
    lr, b1, b2 = 0.1, 0.9, 0.99
    ours = optimizers.ScheduleFreeAdamW(lr, b1, b2, warmup_steps=warmup_steps)
    y = [v.astype(np.float64) for v in start()]
    z, square = [v.copy() for v in y], [np.zeros_like(v) for v in y]
    for t, grads in enumerate(gradients_of_steps(), 1):
        ours.apply(grads, a)
        rate = lr * (min(t / warmup_steps, 1) if warmup_steps else 1)
        for i, g in enumerate(grads):
            square[i] = b2 * square[i] + (1 - b2) * g.astype(np.float64) ** 2
            x = (y[i] - (1 - b1) * z[i]) / b1
            z[i] = z[i] - rate * g / (np.sqrt(square[i] / (1 - b2**t)) + 1e-8)
            y[i] = (1 - b1) * z[i] + b1 * ((1 - 1 / t) * x + z[i] / t)
    for v, w in zip(a, y, strict=True):
        close(v.numpy(), w, rtol=1e-4, atol=1e-5)
    assert ours.get_config().keys() == keras.optimizers.ScheduleFreeAdamW().get_config().keys()


@pytest.mark.parametrize("name, kwargs", CASES, ids=IDS)
def test_config(name: str, kwargs: Any) -> None:
    ours, theirs = getattr(optimizers, name)(**kwargs), getattr(keras.optimizers, name)(**kwargs)
    assert {**ours.get_config(), "name": 0} == {**theirs.get_config(), "name": 0}
    again = optimizers.deserialize(optimizers.serialize(ours))
    assert again.get_config() == ours.get_config()
    assert type(optimizers.deserialize(keras.optimizers.serialize(theirs))) is type(ours)
    if name == "Lamb":  # which real Keras cannot read back
        return
    assert (
        keras.optimizers.deserialize(optimizers.serialize(ours)).get_config() == ours.get_config()
    )


def test_names_of_states_are_keras_s() -> None:
    for name in ("SGD", "Adam", "Nadam", "RMSprop"):
        ours, theirs = (
            getattr(optimizers, name)(name="opt"),
            getattr(keras.optimizers, name)(name="opt"),
        )
        a, b = ours_and_theirs()
        ours.build(a)
        theirs.build(b)
        known = [w.path for w in theirs.variables if "variable" not in w.path]
        assert [v.path for v in ours.variables][: len(known)] == known


def test_constraints_come_after_the_update() -> None:
    a, b = ours_and_theirs("non_neg")
    ours, theirs = optimizers.SGD(0.5), keras.optimizers.SGD(0.5)
    for grads in gradients_of_steps():
        ours.apply(grads, a)
        theirs.apply([keras.ops.convert_to_tensor(g) for g in grads], b)
    for v, w in zip(a, b, strict=True):
        close(v.numpy(), w.numpy())
    assert (a[0].numpy() >= 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda k: k.ExponentialDecay(0.1, 3, 0.5),
        lambda k: k.ExponentialDecay(0.1, 3, 0.5, staircase=True),
        lambda k: k.InverseTimeDecay(0.1, 3, 0.5),
        lambda k: k.InverseTimeDecay(0.1, 3, 0.5, staircase=True),
        lambda k: k.PiecewiseConstantDecay([2, 5, 9], [0.1, 0.05, 0.02, 0.01]),
        lambda k: k.PolynomialDecay(0.1, 6),
        lambda k: k.PolynomialDecay(0.1, 6, 0.01, power=2.0),
        lambda k: k.PolynomialDecay(0.1, 4, 0.01, power=0.5, cycle=True),
        lambda k: k.CosineDecay(0.1, 8),
        lambda k: k.CosineDecay(0.1, 8, alpha=0.2),
        lambda k: k.CosineDecay(0.01, 8, alpha=0.1, warmup_target=0.1, warmup_steps=4),
        lambda k: k.CosineDecayRestarts(0.1, 4),
        lambda k: k.CosineDecayRestarts(0.1, 4, t_mul=1.0, m_mul=0.5, alpha=0.1),
    ],
)
def test_schedule(make: Any) -> None:
    ours, theirs = make(schedules), make(keras.optimizers.schedules)
    for step in range(14):
        close(ours(np.int32(step)), theirs(step), rtol=1e-5, atol=1e-8)
        close(traced(ours, np.int32(step), batch=False)[0], theirs(step), rtol=1e-5, atol=1e-8)
    assert ours.get_config() == theirs.get_config()
    assert schedules.deserialize(schedules.serialize(ours)).get_config() == ours.get_config()
    back = schedules.deserialize(keras.optimizers.schedules.serialize(theirs))
    assert type(back) is type(ours)
    optimizer = optimizers.SGD(ours)
    other = keras.optimizers.SGD(theirs)
    a, b = ours_and_theirs()
    for grads in gradients_of_steps():
        optimizer.apply(grads, a)
        other.apply([keras.ops.convert_to_tensor(g) for g in grads], b)
    for v, w in zip(a, b, strict=True):
        close(v.numpy(), w.numpy())
    compare_states(optimizer, other)
    again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert again.get_config() == optimizer.get_config()


def test_weight_decay_spares_what_is_excluded() -> None:
    a, b = ours_and_theirs()
    ours, theirs = optimizers.AdamW(weight_decay=0.5), keras.optimizers.AdamW(weight_decay=0.5)
    ours.exclude_from_weight_decay(var_names=["v1"], var_list=[a[2]])
    theirs.exclude_from_weight_decay(var_names=["v1"], var_list=[b[2]])
    for grads in gradients_of_steps():
        ours.apply(grads, a)
        theirs.apply([keras.ops.convert_to_tensor(g) for g in grads], b)
    for v, w in zip(a, b, strict=True):
        close(v.numpy(), w.numpy())


def test_learning_rate_is_a_variable() -> None:
    optimizer = optimizers.Adam(0.5)
    assert float(optimizer.learning_rate) == 0.5
    optimizer.learning_rate = 0.25
    assert float(optimizer.learning_rate) == 0.25
    optimizer.learning_rate.assign(0.125)
    assert optimizer.get_config()["learning_rate"] == 0.125
    scheduled = optimizers.SGD(schedules.ExponentialDecay(1.0, 1, 0.5))
    assert float(scheduled.learning_rate) == 1.0
    with pytest.raises(TypeError, match="schedule"):
        scheduled.learning_rate = 0.1
    assert [v.name for v in scheduled.variables] == ["iteration"]
    called = optimizers.SGD(lambda: 0.5)
    a, _ = ours_and_theirs()
    called.apply([np.ones(s, np.float32) for s in SHAPES], a)
    close(a[0].numpy(), start()[0] - 0.5)


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_loss_scale(mode: str) -> None:
    a, b = ours_and_theirs()
    ours = optimizers.LossScaleOptimizer(
        optimizers.SGD(0.1, momentum=0.9), initial_scale=8.0, dynamic_growth_steps=2
    )
    theirs = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1, momentum=0.9), initial_scale=8.0, dynamic_growth_steps=2
    )
    ours.build(a)
    theirs.build(b)
    for i, grads in enumerate(gradients_of_steps()):
        if i == 3:
            grads[1][0] = np.inf
        theirs.apply([keras.ops.convert_to_tensor(g) for g in grads])
        if mode == "eager":
            ours.apply(grads)
        else:
            traced(lambda *g: ours.apply(list(g)), *grads, batch=False)
        close(ours.scale_loss(1.0), theirs.scale_loss(1.0))
        for v, w in zip(a, b, strict=True):
            close(v.numpy(), w.numpy())
    assert keras.optimizers.deserialize(optimizers.serialize(ours)).initial_scale == 8.0
    assert optimizers.deserialize(keras.optimizers.serialize(theirs)).dynamic_growth_steps == 2


def test_own_optimizers() -> None:
    class SignSGD(optimizers.Optimizer):
        def build(self, variables: Any) -> None:
            super().build(variables)
            self.last = [self.add_variable_from_reference(v, "last") for v in variables]

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            import kcompile.ops as ops

            self.assign(self.last[self._get_variable_index(variable)], gradient)
            self.assign_sub(variable, learning_rate * ops.sign(gradient))

    optimizer = SignSGD(0.1)
    a, _ = ours_and_theirs()
    grads = gradients_of_steps()[0]
    optimizer.apply_gradients(zip(grads, a, strict=True))
    close(a[1].numpy(), start()[1] - 0.1 * np.sign(grads[1]))
    close(optimizer.variables[3].numpy(), grads[1])
    assert int(optimizer.iterations) == 1


def test_saved_states_come_back() -> None:
    a, _ = ours_and_theirs()
    first = optimizers.Adam(0.1)
    for grads in gradients_of_steps():
        first.apply(grads, a)
    store: dict[str, Any] = {}
    first.save_own_variables(store)
    second = optimizers.Adam(0.2)
    second.build(a)
    second.load_own_variables(store)
    for v, w in zip(first.variables, second.variables, strict=True):
        close(v.numpy(), w.numpy())
    third = optimizers.SGD()
    with pytest.warns(UserWarning, match="not loaded"):
        third.load_own_variables(store)


def test_refusals() -> None:
    for bad in (
        lambda: optimizers.SGD(lr=0.1),
        lambda: optimizers.SGD("fast"),
        lambda: optimizers.Adam(clipnorm=1.0, clipvalue=1.0),
        lambda: optimizers.Adam(gradient_accumulation_steps=1),
        lambda: optimizers.Adam(use_ema=True, ema_momentum=2.0),
        lambda: optimizers.SGD(momentum=2.0),
        lambda: optimizers.AdamW(weight_decay=None),
        lambda: optimizers.Lion(beta_1=0.0),
        lambda: optimizers.Ftrl(l1_regularization_strength=-1.0),
        lambda: optimizers.get("adm"),
        lambda: optimizers.get(3),
        lambda: optimizers.Adam(bogus=1),
    ):
        with pytest.raises(ValueError, match="what to do"):
            bad()
    with pytest.raises(ValueError, match="learning_rate"):
        optimizers.Adam(lr=0.1)
    with pytest.warns(UserWarning, match="decay"):
        optimizers.Adam(decay=0.1)
    a, _ = ours_and_theirs()
    optimizer = optimizers.SGD()
    optimizer.build(a[:1])
    with pytest.raises(ValueError, match="v1"):
        optimizer.apply([np.ones(4, np.float32)], a[1:2])
    with pytest.raises(ValueError, match="no gradient"):
        optimizer.apply([None], a[:1])
    with pytest.raises(ValueError, match="1 weights for its 2"):
        optimizer.set_weights([3])
    assert (a[0].numpy() == start()[0]).all()


def test_missing_gradients_are_named() -> None:
    a, _ = ours_and_theirs()
    optimizer = optimizers.SGD(0.1)
    with pytest.warns(UserWarning, match="v1"):
        optimizer.apply([np.ones(SHAPES[0], np.float32), None, np.ones(SHAPES[2], np.float32)], a)
    assert (a[1].numpy() == start()[1]).all()
    close(a[0].numpy(), start()[0] - 0.1)


def test_scalars_are_made_once() -> None:
    """Beyond its first variable, Adam costs a fixed, small number of elementwise nodes for each."""

    def nodes(count: int) -> list[str]:
        variables = [Variable(np.ones((2, 3), np.float32), name=f"w{i}") for i in range(count)]
        optimizer = optimizers.Adam()
        optimizer.build(variables)
        with Trace("count") as trace:
            grads = [trace.data(f"g{i}", trace.initial(v).type) for i, v in enumerate(variables)]
            optimizer.apply(grads, variables)
            graph, _ = trace.finish("count", [])
        return [
            n.op.name
            for n in graph.nodes
            if n.outs[0].type.shape == (2, 3) and n.op.name not in ("broadcast", "full")
        ]

    assert len(nodes(3)) - len(nodes(2)) == 12
    powers = {n: nodes(n) for n in (1, 4)}
    assert len(powers[4]) == 4 * len(powers[1])
