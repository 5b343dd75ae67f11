"""The name that `greenlight.builder` had in 0.2: importing it still works, with a DeprecationWarning."""

import warnings

from greenlight.builder import BuildFailed, Job, run
from greenlight.builder import SupabaseRefusedError as Refused

__all__ = ["BuildFailed", "Job", "Refused", "run"]

warnings.warn(
    "greenlight.worker is now greenlight.builder; the old name goes with 0.4.",
    DeprecationWarning,
    stacklevel=2,
)
