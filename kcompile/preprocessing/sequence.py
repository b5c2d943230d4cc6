"""`keras.preprocessing.sequence`: public names; refuses to hold what they do."""

from kcompile.utils.sequences import pad_sequences as pad_sequences
