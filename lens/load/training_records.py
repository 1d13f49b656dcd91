"""What was written down while the shipped models were trained: the losses, and the scores of every run."""

import csv
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from lens.load.catalogue import entries, resolve
from lens.load.entries import ASSETS
from lens.load.files import read_json

RUNS = ASSETS / "runs.csv"


class LossLog(NamedTuple):
    """Training loss of every step of a shipped model. ``tokens``: read when the loss was taken, before the step."""

    step: Int[np.ndarray, " step"]
    tokens: Int[np.ndarray, " step"]
    loss: Float[np.ndarray, " step"]  # nats, mean over one batch


class RunRow(NamedTuple):
    """Scores of one run at one point of its training, on 16 sequences of 25 random tokens, twice (seed 0).

    ``shipped``: whether this run is the model that Lens ships; its rows are then those of the shipped files.
    """

    model: str
    seed: int
    repeat_share: float  # of contexts that repeat one of their own passages
    steps: int  # of the whole run
    shipped: bool
    step: int
    tokens: int
    train_loss: float  # nats, mean of the last 100 steps; NaN before the first
    held_out_loss: float  # nats, first context of each held-out chapter
    prefix_matching: float  # of the best head; its control is not subtracted
    prefix_control: float  # the largest of any head on the paired control
    best_head: str  # "layer.head"
    previous_token: float  # of the best head, over q >= 6; of runs that are not shipped over q >= 2
    first_copy_loss: float  # nats, tokens 2 … n
    second_copy_loss: float
    second_copy_top1: float  # share of those tokens that are the model's first guess


def loss_log(name: str) -> LossLog:
    """The training log of a shipped model; ValueError names those that have one."""
    entry = resolve(name, paths=False)
    if not entry.shipped:
        names = ", ".join(one.alias for one in entries() if one.shipped)
        raise ValueError(f"{entry.alias} was not trained by Lens; the models with a training log are {names}.")
    recipe = read_json(entry.path / "recipe.json")
    step, loss = np.loadtxt(entry.path / "loss.csv", delimiter=",", skiprows=1, unpack=True)
    return LossLog(step.astype(int), step.astype(int) * recipe["batch"] * recipe["n_ctx"], loss)


def training_runs() -> list[RunRow]:
    """All runs, shipped or not, each from its beginning to its end."""
    with RUNS.open(encoding="utf-8", newline="") as table:
        return [_row(one) for one in csv.DictReader(table)]


def _row(cells: dict[str, str]) -> RunRow:
    kinds = RunRow.__annotations__
    values = {name: cells[name] == "True" if kinds[name] is bool else kinds[name](cells[name]) for name in kinds}
    return RunRow(**values)
