"""How random models are trained: losses with the outputs they want, metrics, optimizers.

Refuses to hold layers (`layer_table`) and models.
"""

from __future__ import annotations

from typing import Any

from tests.fuzz.draw import Choice

ACC: list[Any] = ["accuracy"]
HEADS: list[tuple[str, tuple[str, dict[str, Any]], Any, str, list[Any]]] = [
    ("any", ("MeanSquaredError", {}), None, "real", ["mae", "mse", ("RootMeanSquaredError", {}), ("R2Score", {})]),
    ("any", ("MeanAbsoluteError", {}), "tanh", "real", ["mse"]),
    ("any", ("Huber", {"delta": 0.5}), None, "real", ["mae"]),
    ("any", ("LogCosh", {}), None, "real", []),
    ("any", ("MeanSquaredLogarithmicError", {}), "softplus", "positive", []),
    ("any", ("MeanAbsolutePercentageError", {}), "softplus", "positive", []),
    ("any", ("Poisson", {}), "softplus", "positive", ["mae"]),
    ("classes", ("CosineSimilarity", {}), None, "real", ["cosine_similarity"]),
    ("one", ("BinaryCrossentropy", {}), "sigmoid", "bit",
     ["accuracy", "AUC", ("Precision", {}), ("Recall", {"thresholds": 0.4}), ("F1Score", {"threshold": 0.5}), ("BinaryIoU", {})]),
    ("any", ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}), None, "bit", ["accuracy"]),
    ("one", ("BinaryFocalCrossentropy", {"gamma": 2.0, "apply_class_balancing": True}), "sigmoid", "bit", ACC),
    ("one", ("Hinge", {}), "tanh", "bit", ["hinge"]),
    ("any", ("SquaredHinge", {}), "tanh", "sign", []),
    ("classes", ("CategoricalHinge", {}), None, "onehot", ["categorical_hinge"]),
    ("classes", ("SparseCategoricalCrossentropy", {}), "softmax", "class",
     ["accuracy", ("SparseTopKCategoricalAccuracy", {"k": 2}), "sparse_categorical_crossentropy"]),
    ("classes", ("SparseCategoricalCrossentropy", {"from_logits": True}), None, "class", ACC),
    ("classes", ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 0}), None, "class", []),
    ("classes", ("CategoricalCrossentropy", {}), "softmax", "onehot", ["accuracy", ("TopKCategoricalAccuracy", {"k": 2})]),
    ("classes", ("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.2}), None, "onehot", ACC),
    ("classes", ("CategoricalFocalCrossentropy", {"gamma": 1.5}), "softmax", "onehot", ACC),
    ("classes", ("KLDivergence", {}), "softmax", "distribution", ["kl_divergence"]),
    ("classes", ("Dice", {}), "softmax", "onehot", []),
    ("classes", ("Tversky", {"alpha": 0.3, "beta": 0.7}), "softmax", "onehot", []),
]  # fmt: skip


def optimizer(c: Choice) -> tuple[str, dict[str, Any]]:
    kw: dict[str, Any] = {"learning_rate": c.pick((0.01, 0.05))}
    name = c.pick(("SGD", "SGD", "SGD", "RMSprop", "Adam", "Adagrad", "Adadelta"))
    if name == "SGD":
        if c.chance(2):
            kw["momentum"] = c.pick((0.9, 0.5))
            kw["nesterov"] = c.chance(2)
    else:
        kw["epsilon"] = 0.1  # or the sign of a gradient of size 1e-8 decides
        if name == "RMSprop" and c.chance(2):
            kw |= {"momentum": 0.5, "centered": c.chance(2)}
    if c.chance(3):
        kw[c.pick(("clipnorm", "clipvalue", "global_clipnorm"))] = c.pick((0.1, 0.5))
    if c.chance(4):
        kw["weight_decay"] = 0.1
    if c.chance(5):
        kw["gradient_accumulation_steps"] = c.pick((2, 3))
    if c.chance(6):
        kw |= {"use_ema": True, "ema_momentum": 0.7, "ema_overwrite_frequency": c.pick((None, 2))}
    return name, kw
