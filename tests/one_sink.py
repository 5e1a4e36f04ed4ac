"""The journal's checkpoint where there is one sink."""

from __future__ import annotations

from pathlib import Path

from dcmirror.adapters import checkpoints
from dcmirror.adapters.checkpoints import Checkpoint


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the file by one with a single sink."""
    checkpoints.save_all(path, {"none": checkpoint}, ("none",))
