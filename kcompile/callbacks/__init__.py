"""`keras.callbacks`: the public names."""

from kcompile.absent import of as _absent
from kcompile.callbacks.backup_and_restore import BackupAndRestore as BackupAndRestore
from kcompile.callbacks.callback import Callback as Callback
from kcompile.callbacks.callback_list import CallbackList as CallbackList
from kcompile.callbacks.csv_logger import CSVLogger as CSVLogger
from kcompile.callbacks.early_stopping import EarlyStopping as EarlyStopping
from kcompile.callbacks.history import History as History
from kcompile.callbacks.lambda_callback import LambdaCallback as LambdaCallback
from kcompile.callbacks.learning_rate_scheduler import (
    LearningRateScheduler as LearningRateScheduler,
)
from kcompile.callbacks.model_checkpoint import ModelCheckpoint as ModelCheckpoint
from kcompile.callbacks.progbar_logger import ProgbarLogger as ProgbarLogger
from kcompile.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau as ReduceLROnPlateau
from kcompile.callbacks.terminate_on_nan import TerminateOnNaN as TerminateOnNaN

__getattr__ = _absent(__name__)
