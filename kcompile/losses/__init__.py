"""The losses of Keras. Re-exports only."""

from kcompile.absent import of as _absent
from kcompile.losses.loss import Loss
from kcompile.losses.margin import (
    CategoricalHinge,
    Circle,
    Dice,
    Hinge,
    SquaredHinge,
    Tversky,
    categorical_hinge,
    circle,
    dice,
    hinge,
    squared_hinge,
    tversky,
)
from kcompile.losses.probabilistic import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
    poisson,
    sparse_categorical_crossentropy,
)
from kcompile.losses.registry import deserialize, get, serialize
from kcompile.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)

__getattr__ = _absent(__name__)
