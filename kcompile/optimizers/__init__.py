"""The optimizers of Keras. Re-exports only."""

import kcompile.optimizers.schedules as schedules
from kcompile.absent import of as _absent
from kcompile.optimizers.factored import Adafactor, Muon
from kcompile.optimizers.loss_scale import LossScaleOptimizer
from kcompile.optimizers.moments import Adam, Adamax, AdamW, Lamb, Nadam, ScheduleFreeAdamW
from kcompile.optimizers.optimizer import Optimizer
from kcompile.optimizers.plain import SGD, Adadelta, Adagrad, Ftrl, Lion, RMSprop
from kcompile.optimizers.registry import deserialize, get, serialize

__getattr__ = _absent(__name__)
