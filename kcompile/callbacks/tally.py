"""What the loop counts for whoever shows progress: samples, steps, and the time spent compiling.

Refuses to hold metrics: those are read off the model when somebody looks.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Tally:
    """Counts of the epoch (or evaluation) that runs, seconds its steps took, and seconds of compiling not yet shown."""

    samples: int = 0
    steps: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0

    def start(self) -> None:
        """A new epoch or evaluation begins."""
        self.samples = self.steps = 0
        self.seconds = 0.0

    def take_compile_seconds(self) -> float:
        """The compile time not yet shown; from now on it counts as shown."""
        seconds, self.compile_seconds = self.compile_seconds, 0.0
        return seconds
