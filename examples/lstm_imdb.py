"""Is a film review good or bad? An LSTM reads its words."""

from synthetic import reviews

from kcompile.layers import LSTM, Dense, Embedding
from kcompile.models import Sequential

max_features = 10000
(x_train, y_train), (x_test, y_test) = reviews(3000, length=200, words=max_features)

model = Sequential()
model.add(Embedding(max_features, 32))
model.add(LSTM(32))
model.add(Dense(1, activation="sigmoid"))
model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
model.fit(x_train, y_train, epochs=4, batch_size=32)

loss, accuracy = model.evaluate(x_test, y_test, batch_size=128, verbose=0)
print(f"test accuracy: {accuracy:.3f}")
