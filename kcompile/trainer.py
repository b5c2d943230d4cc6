"""`Trainer`: the training side of a model. compile, metrics, the total loss, and the loops as methods.

Refuses to hold the loops (`kcompile.fit`), steps (`kcompile.step`) and the structure of a model
(`kcompile.model`).
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import kcompile.absent as absent
import kcompile.config as config
import kcompile.fit.loops as loops
import kcompile.later as later
import kcompile.ops as ops
import kcompile.optimizers.registry as optimizers
import kcompile.run_on as choose
import kcompile.serialization as serialization
import kcompile.steps as steps
from kcompile.dtypes import is_float
from kcompile.layer import Layer
from kcompile.losses.compile_loss import CompileLoss
from kcompile.metrics.compile_metrics import CompileMetrics
from kcompile.metrics.reduction import Mean
from kcompile.optimizers.loss_scale import LossScaleOptimizer
from kcompile.target import check


class Trainer(Layer):
    """What compiles and trains: the part of a model that is about data."""

    output_names: Any = None

    def _no_training_yet(self) -> None:
        self.compiled = False
        self.stop_training = False
        self.history: Any = None
        self.optimizer: Any = None
        self.loss: Any = None
        self._compile_loss: Any = None
        self._compile_metrics: Any = None
        self._compile_arguments: dict[str, Any] | None = None
        self.loss_tracker: Any = None

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: Any = "auto",
        auto_scale_loss: bool = True,
        device: str | None = None,
        backend: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Choose optimizer, loss and metrics, and where the model runs.

        device: "cpu", "cuda" or "auto", and backend: see `run_on`; with neither, the choice stays as it is.
        Every step is compiled and runs by itself: run_eagerly=True and steps_per_execution > 1 warn that they
        change nothing; jit_compile is taken whatever it is. Raises KCValueError KC302, KCTypeError KC107.
        """
        if kwargs:
            raise absent.unexpected("compile", kwargs, _COMPILE)
        check(device, backend)
        names = self.output_names
        compile_loss = (
            CompileLoss(loss, loss_weights, output_names=names) if loss is not None else None
        )
        compile_metrics = None
        if metrics is not None or weighted_metrics is not None:
            compile_metrics = CompileMetrics(metrics, weighted_metrics, output_names=names)
        self.optimizer = optimizers.get(optimizer)
        if run_eagerly or steps_per_execution != 1:
            warnings.warn(
                f"compile(run_eagerly={run_eagerly!r}, steps_per_execution={steps_per_execution!r}) changes nothing: "
                "every step is compiled and runs by itself. To see values inside a layer, call the layer on arrays.",
                stacklevel=2,
            )
        half = (
            auto_scale_loss
            and self.optimizer is not None
            and self.dtype_policy.name == "mixed_float16"
        )
        if half and not isinstance(self.optimizer, LossScaleOptimizer):
            self.optimizer = LossScaleOptimizer(self.optimizer, name="loss_scale_optimizer")
        self.loss = loss
        self._compile_loss, self._compile_metrics = compile_loss, compile_metrics
        self.loss_tracker = Mean(name="loss")
        self.run_eagerly, self.steps_per_execution, self.jit_compile = (
            run_eagerly,
            steps_per_execution,
            jit_compile,
        )
        self._compile_arguments = {
            "optimizer": optimizer, "loss": loss, "loss_weights": loss_weights, "metrics": metrics,
            "weighted_metrics": weighted_metrics, "run_eagerly": run_eagerly, "steps_per_execution": steps_per_execution,
            "jit_compile": bool(jit_compile) and jit_compile != "auto",
        }  # fmt: skip
        if device is not None or backend is not None:
            self.run_on(device, backend)
        self.compiled = True
        self.stop_training = False
        self.__dict__.pop("_step_functions", None)

    @property
    def metrics(self) -> list[Any]:
        """The loss tracker, compiled metrics, the means of single losses, metrics of the model and its layers."""
        out = [self.loss_tracker] if self.loss_tracker is not None else []
        if self._compile_metrics is not None:
            out.append(self._compile_metrics)
        if self._compile_loss is not None:
            out += self._compile_loss.metrics
        return out + super().metrics

    @property
    def metrics_names(self) -> list[str]:
        return [m.name for m in self.metrics]

    def reset_metrics(self) -> None:
        """Set all metrics back."""
        for m in self.metrics:
            m.reset_state()

    def get_metrics_result(self) -> dict[str, Any]:
        """The metrics by name; a metric with several results gives them all."""
        out: dict[str, Any] = {}
        for m in self.metrics:
            result = m.result()
            out.update(result if isinstance(result, dict) else {m.name: result})
        return out

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The total loss: the compiled one and what layers added."""
        parts = []
        if self._compile_loss is not None:
            loss = self._compile_loss(y, y_pred, sample_weight)
            if loss is not None:
                parts.append(loss)
        for extra in self.losses:
            part = ops.convert_to_tensor(extra)
            parts.append(ops.sum(part if is_float(part.dtype) else ops.cast(part, config.floatx())))
        if not parts:
            return ops.zeros(())
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def update_metrics(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Show a batch to the compiled metrics."""
        if self._compile_metrics is not None:
            self._compile_metrics.update_state(y, y_pred, sample_weight)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Update the compiled metrics and give all results."""
        self.update_metrics(y, y_pred, sample_weight)
        return self.get_metrics_result()

    # what a model may define itself: traced once, compiled
    train_step = steps.train_step
    test_step = steps.test_step
    predict_step = steps.predict_step
    zero_grad = later.method("kcompile.gradient_tape", "zero_grad")

    def __getattr__(self, name: str) -> Any:
        return absent.of_model(self, name)

    fit = absent.refusing_others(loops.fit)
    evaluate = absent.refusing_others(loops.evaluate)
    predict = absent.refusing_others(loops.predict)
    train_on_batch = absent.refusing_others(loops.train_on_batch)
    test_on_batch = absent.refusing_others(loops.test_on_batch)
    predict_on_batch = absent.refusing_others(loops.predict_on_batch)

    run_on = choose.run_on

    def get_compile_config(self) -> dict[str, Any] | None:
        """The arguments of compile() as plain data."""
        if self._compile_arguments is None:
            return None
        given = dict(self._compile_arguments)
        given["optimizer"] = self.optimizer
        return {k: serialization.serialize_keras_object(v) for k, v in given.items()}

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """compile() with the arguments of `get_compile_config`."""
        found = {
            k: (
                optimizers.deserialize(v)
                if k == "optimizer" and isinstance(v, dict)
                else serialization.deserialize_keras_object(v)
            )
            for k, v in config.items()
        }
        found["jit_compile"] = found.get("jit_compile") or "auto"
        self.compile(**found)
        if self.optimizer is not None and self.built and self.trainable_variables:
            self.optimizer.build(self.trainable_variables)


_COMPILE = tuple(inspect.signature(Trainer.compile).parameters)[1:-1]
