"""Keras's `utils` by its names."""

from kcompile.utils.files import get_file as get_file
from kcompile.utils.labels import normalize as normalize
from kcompile.utils.labels import to_categorical as to_categorical
from kcompile.utils.seeds import set_random_seed as set_random_seed
from kcompile.utils.sequences import pad_sequences as pad_sequences
