"""Binary classification of rows of 100 numbers."""

from synthetic import customers

from kcompile.layers import Dense
from kcompile.models import Sequential

(x_train, y_train), (x_test, y_test) = customers(12000)

model = Sequential()
model.add(Dense(64, activation="relu", input_dim=100))
model.add(Dense(1, activation="sigmoid"))
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=10, batch_size=32, validation_split=0.1)

score = model.evaluate(x_test, y_test, verbose=0)
print(f"test accuracy: {score[1]:.3f}")
