"""What people type by mistake or from memory of an older Keras: the error says what to write instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kcompile as keras
from kcompile.errors import KCError

layers = keras.layers
X = np.random.default_rng(0).standard_normal((20, 8)).astype("float32")
Y = np.arange(20, dtype="int32") % 3


def mlp(loss: Any = "sparse_categorical_crossentropy", metrics: Any = None) -> Any:
    m = keras.Sequential([keras.Input((8,)), layers.Dense(3, activation="softmax")])
    m.compile("sgd", loss, metrics=metrics)
    return m


def unoptimized() -> Any:
    m = stack(layers.Dense(3))
    m.compile(None, "mse")
    return m


def stack(*more: Any) -> Any:
    return keras.Sequential([keras.Input((8,)), *more])


# program -> (class an `except` of the user would name, what the message says)
MISTAKES: dict[str, tuple[type[Exception], str]] = {
    # names
    "keras.foo": (AttributeError, "kcompile has no 'foo'"),
    "keras.Sequental": (AttributeError, "did you mean 'Sequential'"),
    "keras.applications.ResNet50()": (AttributeError, "a .keras file"),
    "layers.ConvLSTM2D(3, 3)": (AttributeError, "no 'ConvLSTM2D'"),
    "layers.CuDNNLSTM(3)": (AttributeError, "use LSTM"),
    "layers.Densee(3)": (AttributeError, "did you mean 'Dense'"),
    "keras.callbacks.EarlyStoping()": (AttributeError, "did you mean 'EarlyStopping'"),
    "keras.callbacks.TensorBoard()": (AttributeError, "CSVLogger"),
    "keras.utils.np_utils.to_categorical([1])": (AttributeError, "utils.to_categorical"),
    "keras.utils.plot_model(None)": (AttributeError, "dot"),
    "keras.preprocessing.text.Tokenizer()": (AttributeError, "pad_sequences"),
    "keras.preprocessing.image.ImageDataGenerator()": (AttributeError, "PyDataset"),
    "keras.optimizers.legacy.Adam()": (AttributeError, "keras.optimizers"),
    "keras.datasets.minst": (AttributeError, "did you mean 'mnist'"),
    "keras.ops.fft(X)": (AttributeError, "no 'fft'"),
    "keras.losses.CTC()": (AttributeError, "no 'CTC'"),
    "keras.metrics.Acuracy()": (AttributeError, "did you mean 'Accuracy'"),
    "keras.backend.set_session(None)": (AttributeError, "no sessions"),
    "mlp().predict_classes(X)": (AttributeError, "argmax"),
    "mlp().fit_generator(X)": (AttributeError, "call fit"),
    "mlp().load('x')": (AttributeError, "load_model"),
    # arguments
    "layers.Dense()": (TypeError, "units"),
    "layers.Dense(10, activaton='relu')": (TypeError, "did you mean 'activation'"),
    "layers.Dense(output_dim=10)": (TypeError, "write units="),
    "layers.Dense(10, W_regularizer='l2')": (TypeError, "kernel_regularizer="),
    "layers.Dense(10, batch_input_shape=(1, 8))": (TypeError, "Input"),
    "layers.Conv2D(32)": (TypeError, "kernel_size"),
    "layers.Conv2D(nb_filter=3, nb_row=3, nb_col=3)": (TypeError, "filters="),
    "layers.Dropout(p=0.5)": (TypeError, "rate="),
    "layers.LSTM(3, return_sequence=True)": (TypeError, "did you mean 'return_sequences'"),
    "layers.LSTM(3, inner_activation='tanh')": (TypeError, "recurrent_activation="),
    "keras.losses.MeanSquaredError(reductoin='sum')": (TypeError, "did you mean 'reduction'"),
    "keras.metrics.AUC(num_tresholds=3)": (TypeError, "did you mean 'num_thresholds'"),
    "keras.callbacks.EarlyStopping(patiens=3)": (TypeError, "did you mean 'patience'"),
    "keras.callbacks.History(3)": (TypeError, "positional"),
    "keras.optimizers.schedules.ExponentialDecay(0.1, decay_step=3, decay_rate=0.1)": (TypeError, "'decay_steps'"),
    "keras.optimizers.Adam(learnig_rate=1)": (ValueError, "did you mean 'learning_rate'"),
    "keras.regularizers.L2(l3=1)": (TypeError, "L2 takes l2"),
    "keras.initializers.RandomNormal(stdev=1)": (TypeError, "did you mean 'stddev'"),
    "keras.constraints.MaxNorm(max_valu=2)": (TypeError, "did you mean 'max_value'"),
    "keras.Sequential(layers.Dense(3))": (TypeError, "a list"),
    "keras.Sequential([layers.Dense])": (TypeError, "parentheses"),
    "stack().add(layers.Dense(3), activation='relu')": (TypeError, "to the layer itself"),
    "keras.Model(input=1, output=2)": (TypeError, "inputs="),
    "mlp().compile('sgd', metric=['mae'])": (TypeError, "did you mean 'metrics'"),
    "mlp().fit(X, Y, nb_epoch=3)": (TypeError, "epochs="),
    "mlp().fit(X, Y, epoch=3)": (TypeError, "did you mean 'epochs'"),
    "mlp().fit(X, Y, workers=3)": (TypeError, "PyDataset"),
    "mlp().predict(X, batchsize=3)": (TypeError, "did you mean 'batch_size'"),
    "mlp().fit(X, Y, validation_split='0.2')": (ValueError, "between 0 and 1"),
    "mlp().fit(X, Y, class_weight=[1, 2, 3])": (ValueError, "a dict"),
    "mlp().fit(X, Y, class_weight={0: 'x'})": (ValueError, "a dict"),
    "mlp().fit(X, Y, sample_weight='balanced')": (TypeError, "sample_weight"),
    "mlp().fit('data.csv', Y)": (TypeError, "x of type str"),
    "mlp().fit(X, Y, sample_weight=np.ones((20, 2)))": (ValueError, r"sample weights float32\["),
    "mlp().fit(X, Y, callbacks=[keras.callbacks.LearningRateScheduler(0.1)])": (
        TypeError,
        "a function",
    ),
    "mlp().set_weights(3)": (ValueError, "list of arrays"),
    "mlp().save('/dev/null/x.keras')": (OSError, "no folder '/dev/null'"),
    "mlp().fit(X, Y, validation_split=0.5, validation_batch_size=0)": (ValueError, "validation_batch_size"),
    "layers.LSTM(3)(keras.Input((4, 3)), initial_state=[keras.Input((2,))] * 2)": (ValueError, "in the layer 'lstm"),
    "stack(layers.Softmax(axis=7))": (IndexError, "axis=7|axis 7"),
    "keras.utils.to_categorical(['a'])": (ValueError, "integers"),
    # losses and metrics that do not fit
    "mlp('mse').fit(X, Y)": (ValueError, r"the loss of the output 'dense"),
    "mlp(metrics=[keras.metrics.AUC()]).fit(X, Y)": (ValueError, "the metric 'auc"),
    "mlp(keras.losses.MeanSquaredError).fit(X, Y)": (ValueError, "targets"),
    # calls
    "layers.Dense(3)(3)": (TypeError, "on tensors or NumPy arrays"),
    "layers.Dense(3)(None)": (TypeError, "on tensors or NumPy arrays"),
    "layers.Dense(3)([1.0, 2.0])": (TypeError, "on tensors or NumPy arrays"),
    "stack(layers.Conv2D(3, 3, name='c'))": (ValueError, r"in the layer 'c' \(Conv2D\), called with"),
    "stack(layers.Lambda(lambda x: None, name='l'))": (TypeError, "'l' returned None"),
    "stack(layers.Lambda(lambda x: np.sin(x), name='l'))": (TypeError, "kcompile.ops"),
    "layers.MultiHeadAttention(2, 3)(keras.Input((4, 3)))": (ValueError, r"layer\(x, x\)"),
    "keras.Model(keras.Input((3,)), None)": (ValueError, "has an output"),
    "layers.Layer().add_weight(shape=(None, 3))": (ValueError, "known"),
    "keras.models.clone_model(3)": (TypeError, "a model is cloned"),
    "keras.models.model_from_json('nojson')": (ValueError, "to_json"),
    "mlp().fit(X, Y, initial_epoch='x')": (ValueError, "initial_epoch"),
    "unoptimized().fit(X, Y)": (ValueError, "needs an optimizer"),
    "np.exp(keras.Input((3,)))": (TypeError, "kcompile.ops"),
}  # fmt: skip


@pytest.mark.parametrize("program", MISTAKES)
def test_the_error_says_what_to_do(program: str) -> None:
    kind, message = MISTAKES[program]
    with pytest.raises(kind, match=message) as caught:
        eval(program)
    assert isinstance(caught.value, KCError)
    assert caught.value.todo and len(str(caught.value)) < 1000


def test_other_attributes_are_missing_as_usual() -> None:
    assert not hasattr(layers, "Nope")
    assert not hasattr(mlp(), "nope")
    with pytest.raises(AttributeError, match="'Sequential' object has no attribute 'nope'"):
        _ = mlp().nope


def test_numpy_functions_on_variables_and_operators_beside_arrays() -> None:
    kernel = mlp().weights[0]
    np.testing.assert_array_equal(np.exp(kernel), np.exp(kernel.numpy()))
    x = keras.Input((3,))
    for y in (
        np.ones(3, "float32") * x,
        np.float32(2) + x,
        np.ones((3, 2), "float32").T @ np.eye(3),
    ):
        assert y.dtype in ("float32", np.float64)
    assert (np.ones(3, "float32") < x).dtype == "bool"
    assert keras.preprocessing.sequence.pad_sequences([[1], [2, 3]]).shape == (2, 2)
