"""Errors a user can meet: one hierarchy, one registry of codes, one three-part message.

Each message says what was given, which rule it broke, and what to do. The concrete classes are also
the builtin errors a Keras user would catch (`ValueError`, `TypeError`, ...). Refuses to hold any
check itself: the module that knows the rule raises.
"""

from __future__ import annotations

CODES: dict[str, str] = {
    # tensors, shapes, dtypes, tracing
    "KC101": "a symbolic tensor was used as a number",
    "KC102": "shapes do not fit together",
    "KC103": "an unknown or unsuitable dtype",
    "KC104": "an axis or index out of range",
    "KC105": "a tensor was used outside the trace that made it",
    "KC106": "an operation needs values that are not known while tracing",
    "KC107": "an operation was given an argument it does not take",
    "KC108": "a variable was assigned a value of another shape or where assigning is impossible",
    "KC109": "a name, an operation or a method is not available",
    # layers and models
    "KC201": "a layer was called on inputs it does not take",
    "KC202": "a layer is not built, or was built for another shape",
    "KC203": "a class lacks something it must define",
    "KC204": "weights do not fit the layer",
    "KC205": "a functional model is not connected",
    "KC206": "a layer or model was put together in a way that cannot work",
    "KC207": "a name is taken or unknown",
    "KC208": "a layer failed while it was called",
    "KC209": "an argument of a layer is not valid",
    # training
    "KC301": "the model is not compiled",
    "KC302": "an unknown name of a loss, metric, optimizer or the like",
    "KC303": "data do not fit the model",
    "KC304": "labels or targets do not fit the loss",
    "KC305": "an argument of fit, evaluate, predict, a callback or a dump is not valid",
    "KC306": "training did not succeed: a loss is not finite, or a target was missed",
    "KC307": "an optimizer was used in a way that cannot work",
    # files and configs
    "KC401": "a configuration names something that is not known",
    "KC402": "a file is missing, damaged, or not what it should be",
    "KC403": "a file does not fit the model",
    "KC404": "an object cannot be saved",
    "KC405": "a file asks for something that is refused for safety",
    "KC406": "a download failed",
    # export and compiler
    "KC501": "the model cannot be exported",
    "KC502": "the compiler was asked for something it does not have",
    "KC503": "a device has too little memory",
}


class KCError(Exception):
    """An error with a documented code and a message in three parts.

    Args:
        code: a key of `CODES`.
        given: what was given (types, layer path, file and line where known).
        rule: which rule it broke.
        todo: what to do.
    """

    def __init__(self, code: str, given: str, rule: str, todo: str):
        if code not in CODES:
            raise KeyError(f"error code {code!r} is not registered")
        self.code, self.given, self.rule, self.todo = code, given, rule, todo
        super().__init__(self._text())

    def _text(self) -> str:
        return f"[{self.code}] {self.given}\n  rule: {self.rule}\n  what to do: {self.todo}"

    def __str__(self) -> str:
        return self._text()

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.code, self.given, self.rule, self.todo))


class KCValueError(KCError, ValueError):
    """A value, shape or name that breaks a rule."""


class KCTypeError(KCError, TypeError):
    """An object of the wrong kind."""


class KCIndexError(KCError, IndexError):
    """An index or label out of range."""


class KCAttributeError(KCError, AttributeError):
    """An attribute that is not there (yet)."""


class KCNotImplementedError(KCError, NotImplementedError):
    """Something that is not available."""


class KCRuntimeError(KCError, RuntimeError):
    """Something done at the wrong time."""


class KCKeyError(KCError, KeyError):
    """A name that a table does not have."""


class KCFileNotFoundError(KCError, FileNotFoundError):
    """A file that is not there."""


class KCMemoryError(KCError, MemoryError):
    """More memory than there is."""


class KCOSError(KCError, OSError):
    """A file or a download."""
