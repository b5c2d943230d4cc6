"""`keras.callbacks`: the public names; each module is imported when one of its names is asked for."""

import kcompile.later as later

_HOMES = {
    "kcompile.callbacks.backup_and_restore": "BackupAndRestore",
    "kcompile.callbacks.callback": "Callback",
    "kcompile.callbacks.callback_list": "CallbackList",
    "kcompile.callbacks.csv_logger": "CSVLogger",
    "kcompile.callbacks.early_stopping": "EarlyStopping",
    "kcompile.callbacks.history": "History",
    "kcompile.callbacks.lambda_callback": "LambdaCallback",
    "kcompile.callbacks.learning_rate_scheduler": "LearningRateScheduler",
    "kcompile.callbacks.model_checkpoint": "ModelCheckpoint",
    "kcompile.callbacks.progbar_logger": "ProgbarLogger",
    "kcompile.callbacks.reduce_lr_on_plateau": "ReduceLROnPlateau",
    "kcompile.callbacks.terminate_on_nan": "TerminateOnNaN",
}
__all__ = later.public(_HOMES)
__getattr__ = later.names(__name__, _HOMES)


def __dir__() -> list[str]:
    return __all__
