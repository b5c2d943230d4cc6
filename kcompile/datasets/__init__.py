"""Data sets by Keras's names, and `digits`, which needs no download."""

from kcompile.absent import of as _absent
from kcompile.datasets import (
    cifar10 as cifar10,
)
from kcompile.datasets import (
    cifar100 as cifar100,
)
from kcompile.datasets import (
    digits as digits,
)
from kcompile.datasets import (
    fashion_mnist as fashion_mnist,
)
from kcompile.datasets import (
    imdb as imdb,
)
from kcompile.datasets import (
    mnist as mnist,
)
from kcompile.datasets import (
    reuters as reuters,
)

__getattr__ = _absent(__name__)
