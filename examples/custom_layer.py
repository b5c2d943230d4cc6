"""A layer of one's own."""

from synthetic import line

import kcompile as keras


class Linear(keras.layers.Layer):
    def __init__(self, units=32, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.w = self.add_weight(
            shape=(input_shape[-1], self.units),
            initializer="random_normal",
            trainable=True,
            name="w",
        )
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", trainable=True, name="b")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.w) + self.b

    def get_config(self):
        return {**super().get_config(), "units": self.units}


(x_train, y_train), (x_test, y_test) = line(6000)

model = keras.Sequential([keras.Input(shape=(8,)), Linear(2)])
model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mse", metrics=["mae"])
model.fit(x_train, y_train, epochs=10, verbose=2)

loss, mae = model.evaluate(x_test, y_test, verbose=0)
print(f"test error: {mae:.4f}")
