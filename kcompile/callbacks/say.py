"""The lines that callbacks with `verbose` write: to standard error, one line each.

Refuses to hold progress bars (`kcompile.callbacks.progbar_logger`).
"""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
