"""Pairs of small models that are trained on request: what they are called, where they lie, which are here.

A name says all that decides the weights, ``stage-2l-seed0`` or ``stage-2l-seed0-steps800``, so an address that holds it
means the same model everywhere; whether it was trained on this machine is another question. Imports no torch.
"""

import os
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from lens.load.digests import cache_root
from lens.load.entries import Entry, Sizes, Start

NAME = re.compile(r"stage-(?P<layers>[12])l-seed(?P<seed>\d{1,4})(-steps(?P<steps>\d{2,4}))?")
LAYERS = (1, 2)
STEPS = 400
SAVED = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 17, 20, 24, 29, 34, 40)  # fortieths of a run, dense at its start
POINTS = 40  # measured between the first step and the last
FORMAT = "1"  # part of the path: raised when a name comes to mean other weights
MOST_PAIRS = 24  # on disk, 7 MB each; beyond it the one longest unused goes
STALE = 3600  # seconds after which an unfinished folder belongs to a process that died
NOTE = (
    "Trained on this machine for a demonstration, on a synthetic task: random words that repeat with a period of 6 to "
    "16. It has never read a text."
)
START = Start(token="<bos>", reason="every sequence of its training began with this token")
N_HEADS, D_MODEL, D_HEAD, N_CTX, D_VOCAB = 4, 64, 16, 32, 50
BATCH = 64


class Staged(NamedTuple):
    """One training of both models. ``seed`` decides the initial weights and the sequences that are read."""

    seed: int = 0
    steps: int = STEPS

    @property
    def every(self) -> int:
        """Steps between two measurements."""
        return self.steps // POINTS

    @property
    def folder(self) -> Path:
        """Where both models and their curves lie."""
        return store() / f"seed{self.seed}-steps{self.steps}"

    @property
    def is_here(self) -> bool:
        """Whether it was trained on this machine, to its end, and is still kept."""
        return self.folder.is_dir()

    def name(self, n_layers: int) -> str:
        """What the model of so many layers is called."""
        return f"stage-{n_layers}l-seed{self.seed}{'' if self.steps == STEPS else f'-steps{self.steps}'}"

    def model_folder(self, n_layers: int) -> Path:
        """The folder of one of the models."""
        return self.folder / f"{n_layers}l"

    def entry(self, n_layers: int) -> Entry:
        """Where one of the models comes from, in the terms of the catalogue."""
        return Entry(
            alias=self.name(n_layers),
            path=self.model_folder(n_layers),
            family="toy",
            sizes=Sizes(n_layers, N_HEADS, N_HEADS, D_MODEL, D_HEAD, 0, D_VOCAB, 0),
            n_params=n_params(n_layers),
            checkpoints="lens",
            note=NOTE,
            start=START,
        )


def store() -> Path:
    """Where the trained pairs lie."""
    return cache_root() / "staged" / FORMAT


def writable_store() -> Path:
    """The same, made if need be; OSError says what to do where nothing can be written."""
    try:
        store().mkdir(parents=True, exist_ok=True)
        (store() / ".written").touch()
    except OSError as error:
        raise OSError(
            f"{store()} cannot hold trained models ({error}). Set LENS_CACHE to a folder you may write to."
        ) from error
    return store()


def n_params(n_layers: int) -> int:
    """Parameters of a model of so many layers, biases that stay zero counted."""
    matrices, biases = 4 * D_MODEL * D_HEAD * N_HEADS, 3 * D_HEAD * N_HEADS + D_MODEL
    outside = 2 * D_VOCAB * D_MODEL + D_VOCAB + N_CTX * D_MODEL
    return outside + 2 * D_MODEL + n_layers * (matrices + biases + 2 * D_MODEL)


def entry_of(name: str) -> Entry | None:
    """The entry of a name such as ``stage-2l-seed0``; None for any other name.

    ValueError for a model that was not trained on this machine, or is no longer kept.
    """
    found = NAME.fullmatch(name.lower())
    if found is None:
        return None
    staged, n_layers = Staged(int(found["seed"]), int(found["steps"] or STEPS)), int(found["layers"])
    if not staged.is_here:
        steps = "" if staged.steps == STEPS else f", {staged.steps} steps"
        raise ValueError(
            f"The model {name} is trained on request and is not on this machine now: train seed {staged.seed}{steps} "
            "on the page Training dynamics, under Train on stage; it comes out the same every time."
        )
    return staged.entry(n_layers)


def entries_here() -> list[Entry]:
    """Every model of every pair on this machine, newest pair first."""
    return [staged.entry(n_layers) for staged in pairs_here() for n_layers in reversed(LAYERS)]


def pairs_here() -> list[Staged]:
    """The pairs on this machine, the one last used first."""
    folders = [Path(one.path) for one in os.scandir(store()) if one.is_dir()] if store().is_dir() else []
    found = [(folder, re.fullmatch(r"seed(\d+)-steps(\d+)", folder.name)) for folder in folders]
    used = sorted(((folder.stat().st_mtime, match) for folder, match in found if match), key=lambda row: row[0])
    return [Staged(int(match[1]), int(match[2])) for _, match in reversed(used)]


def make_room(most: int = MOST_PAIRS) -> None:
    """Delete the pairs longest unused until there is room for one more, and what dead processes left."""
    for staged in pairs_here()[most - 1 :]:
        shutil.rmtree(staged.folder, ignore_errors=True)
    for folder in store().glob("unfinished-*"):
        if time.time() - folder.stat().st_mtime > STALE:
            shutil.rmtree(folder, ignore_errors=True)
