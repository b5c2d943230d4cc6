"""A small residual network with batch normalization."""

from synthetic import cifar_like

import kcompile as keras
from kcompile import layers

(x_train, y_train), (x_test, y_test) = cifar_like(1800)


def conv_bn(x, filters, strides=1, kernel_size=3):
    x = layers.Conv2D(filters, kernel_size, strides=strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


def block(x, filters, strides):
    shortcut = conv_bn(x, filters, strides, kernel_size=1) if strides > 1 else x
    y = layers.ReLU()(conv_bn(x, filters, strides))
    y = conv_bn(y, filters)
    return layers.ReLU()(layers.Add()([y, shortcut]))


inputs = keras.Input(shape=(32, 32, 3))
x = layers.Rescaling(1.0 / 255)(inputs)
x = layers.ReLU()(conv_bn(x, 16, strides=2))
for filters in (16, 32, 64):
    x = block(x, filters, strides=2 if filters > 16 else 1)
x = layers.GlobalAveragePooling2D()(x)
outputs = layers.Dense(10, activation="softmax")(x)
model = keras.Model(inputs, outputs, name="resnet")

model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(
    x_train, y_train, batch_size=32, epochs=5, validation_data=(x_test, y_test), verbose=2
)
print(f"test accuracy: {max(history.history['val_accuracy']):.3f}")
