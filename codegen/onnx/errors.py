"""What cannot be exported: the one error of this package. Refuses to hold anything else."""

from __future__ import annotations


class ExportError(Exception):
    """A graph that ONNX cannot say: what was met, which rule, what to do."""

    def __init__(self, given: str, rule: str, todo: str):
        self.given, self.rule, self.todo = given, rule, todo
        super().__init__(f"{given}. {rule}. {todo}.")
