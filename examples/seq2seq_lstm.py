"""Translation by an encoder and a decoder: the decoder starts from the encoder's last state."""

import numpy as np
from synthetic import translations

import kcompile as keras
from kcompile.layers import LSTM, Dense, Embedding, Input

words, latent_dim = 30, 64
(x_train, y_train), (x_test, y_test) = translations(6000, words=words)

encoder_inputs = Input(shape=(None,), dtype="int32", name="source")
encoded = Embedding(words, latent_dim)(encoder_inputs)
_, state_h, state_c = LSTM(latent_dim, return_state=True)(encoded)

decoder_inputs = Input(shape=(None,), dtype="int32", name="target")
decoded = Embedding(words, latent_dim)(decoder_inputs)
decoded = LSTM(latent_dim, return_sequences=True)(decoded, initial_state=[state_h, state_c])
decoder_outputs = Dense(words, activation="softmax")(decoded)

model = keras.Model([encoder_inputs, decoder_inputs], decoder_outputs)
model.compile(
    optimizer=keras.optimizers.Adam(0.005),
    loss="sparse_categorical_crossentropy",
    metrics=["accuracy"],
)
model.fit([x_train["source"], x_train["target"]], y_train, batch_size=64, epochs=20, verbose=2)

predicted = model.predict([x_test["source"], x_test["target"]], verbose=0).argmax(-1)
print(f"words right: {np.mean(predicted == y_test):.3f}")
