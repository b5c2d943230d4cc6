"""`keras.preprocessing`: the public names that are left of it in Keras 3."""

import kcompile.preprocessing.sequence as sequence
from kcompile.absent import of as _absent

__getattr__ = _absent(__name__)
