"""Do two questions ask for the same thing, and what about? One reader for both, two answers."""

from synthetic import questions

import kcompile as keras
from kcompile import layers

(x_train, y_train), (x_test, y_test) = questions(4000)

first = keras.Input(shape=(20,), dtype="int32", name="first")
second = keras.Input(shape=(20,), dtype="int32", name="second")
embed = layers.Embedding(500, 32)
read = layers.LSTM(32)
a, b = read(embed(first)), read(embed(second))

difference = layers.Subtract()([a, b])
together = layers.Concatenate()([a, b, layers.Multiply()([difference, difference])])
same = layers.Dense(32, activation="relu")(together)
same = layers.Dense(1, activation="sigmoid", name="same")(same)
topic = layers.Dense(5, activation="softmax", name="topic")(a)

model = keras.Model(inputs=[first, second], outputs={"same": same, "topic": topic})
model.compile(
    optimizer=keras.optimizers.Adam(0.003),
    loss={"same": "binary_crossentropy", "topic": "sparse_categorical_crossentropy"},
    loss_weights={"same": 1.0, "topic": 0.5},
    metrics={"same": ["accuracy"], "topic": ["accuracy"]},
)
model.fit(x_train, y_train, epochs=8, batch_size=32)

results = model.evaluate(x_test, y_test, return_dict=True, verbose=0)
print(f"same accuracy: {results['same_accuracy']:.3f}")
print(f"topic accuracy: {results['topic_accuracy']:.3f}")
