"""The loss that a training run wrote down while it ran."""

from typing import NamedTuple

from lens.load.checkpoints import TRAINER_STATE, Checkpoints
from lens.load.files import read_json


class TrainingLog(NamedTuple):
    """Training loss by step, nats. Empty, with the ``reason``, where nobody wrote it down."""

    steps: tuple[int, ...]
    loss: tuple[float, ...]
    source: str  # which file says so
    reason: str = ""


def training_log(found: Checkpoints) -> TrainingLog:
    """What the last checkpoint of a Hugging Face Trainer run holds of its loss."""
    entry = found.entry
    if entry.path is None or found.where != "folders":
        return TrainingLog((), (), "", f"{entry.alias} comes without a log of its training")
    file = entry.path / found.places[-1] / TRAINER_STATE
    if not file.is_file():
        return TrainingLog((), (), "", f"the last checkpoint of {entry.alias} holds no {TRAINER_STATE}")
    rows = [row for row in read_json(file).get("log_history", []) if "loss" in row and "step" in row]
    if not rows:
        return TrainingLog((), (), "", f"{TRAINER_STATE} of {entry.alias} names no loss")
    return TrainingLog(
        tuple(int(row["step"]) for row in rows),
        tuple(float(row["loss"]) for row in rows),
        f"{found.places[-1]}/{TRAINER_STATE}",
    )
