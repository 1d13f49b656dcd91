"""The loss that a training run wrote down while it ran."""

from typing import NamedTuple

from lens.load.checkpoints import TRAINER_STATE, Checkpoints
from lens.load.files import read_json
from lens.load.training_records import loss_log


class TrainingLog(NamedTuple):
    """Training loss by step, nats. Empty, with the ``reason``, where nobody wrote it down."""

    steps: tuple[int, ...]
    loss: tuple[float, ...]
    source: str  # which file says so
    reason: str = ""


def training_log(run: Checkpoints) -> TrainingLog:
    """What a run holds of its loss: the table of a shipped one, the last state of a Hugging Face Trainer."""
    entry = run.entry
    if entry.shipped:
        log = loss_log(entry.alias)
        return TrainingLog(tuple(log.step.tolist()), tuple(log.loss.tolist()), "loss.csv")
    if entry.path is None or run.where != "folders":
        return TrainingLog((), (), "", f"{entry.alias} comes without a log of its training")
    file = entry.path / run.places[-1] / TRAINER_STATE
    if not file.is_file():
        return TrainingLog((), (), "", f"the last checkpoint of {entry.alias} holds no {TRAINER_STATE}")
    rows = [row for row in read_json(file).get("log_history", []) if "loss" in row and "step" in row]
    return _log(rows, f"{run.places[-1]}/{TRAINER_STATE}", entry.alias)


def _log(rows: list[dict], source: str, name: str) -> TrainingLog:
    if not rows:
        return TrainingLog((), (), "", f"{source} of {name} names no loss")
    steps, losses = tuple(int(row["step"]) for row in rows), tuple(float(row["loss"]) for row in rows)
    return TrainingLog(steps, losses, source)
