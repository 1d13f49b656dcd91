"""Two attention-only models, of one layer and of two, trained side by side in seconds: what people see on a stage.

Both read the same sequences (:mod:`lens.train.periods`) in the same order. What a run holds is decided by its seed and
its number of steps alone: weights and sequences have random generators of their own.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.numpy import load_file
from safetensors.numpy import save_file as save_arrays
from torch import Tensor

from lens.analysis.instruments.induction import INDUCTION
from lens.analysis.instruments.layout import text_layout
from lens.analysis.instruments.patterns import PatternReader
from lens.config import Config
from lens.hooked import HookedTransformer
from lens.load.staged import (
    BATCH,
    D_HEAD,
    D_MODEL,
    D_VOCAB,
    LAYERS,
    N_CTX,
    N_HEADS,
    POINTS,
    SAVED,
    Staged,
    make_room,
    writable_store,
)
from lens.progress import Progress, silent
from lens.train.forward import training_loss
from lens.train.periods import Sequences, per_sequence, save_tokenizer, sequences
from lens.train.recipe import trained
from lens.train.run import Header, checkpoint_name, save_checkpoint, write_losses

RATE = 3e-3
WEIGHT_STD, WORD_STD = 0.02, 0.1  # words begin louder than positions: else some seeds count back instead of comparing
TRAINING, MEASURED, UNSEEN = range(3)  # streams of sequences, so that none is read in training and measured on
N_MEASURED = 64  # sequences, the same for all runs
CURVES = "curves.safetensors"


class Measurement(NamedTuple):
    """One model at one step, on the same 64 sequences at every step."""

    step: int
    loss: Float[Tensor, " sequence"]  # nats, mean over predictions of later copies
    induction: Float[Tensor, "layer head"]  # attention to all tokens after an earlier occurrence of the query's word
    pattern: Float[Tensor, "layer head query key"]  # on the first of the sequences

    @property
    def best(self) -> tuple[int, int]:
        """Layer and number of the head with the highest induction score."""
        return divmod(int(self.induction.argmax()), self.induction.shape[1])


class Trainee:
    """One of the two models, with its optimiser and everything that was measured of it."""

    def __init__(self, n_layers: int, seed: int) -> None:
        sizes = {"n_heads": N_HEADS, "d_model": D_MODEL, "d_head": D_HEAD, "n_ctx": N_CTX, "d_vocab": D_VOCAB}
        self.model = HookedTransformer(Config(n_layers=n_layers, **sizes), name=f"{n_layers}l")
        self.parameters = trained(self.model)
        random = torch.Generator().manual_seed(seed)
        for name, parameter in self.parameters.items():
            if ".W_" in name:
                std = WORD_STD if name == "embed.W_E" else WEIGHT_STD
                parameter.data.normal_(std=std, generator=random)
        self.optimiser = torch.optim.AdamW(self.parameters.values(), lr=RATE, fused=True)
        self.losses: list[float] = []
        self.measured: list[Measurement] = []
        self.saved: dict[int, dict[str, Tensor]] = {}  # step → weights

    def take_step(self, tokens: Tensor) -> None:
        """One step on one batch; the loss before it is noted."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = training_loss(self.model, tokens, exact=True)
        loss.backward()
        self.optimiser.step()
        self.losses.append(loss.item())

    def save(self, step: int) -> None:
        """Keep the weights as they are now."""
        self.saved[step] = {name: one.detach().clone() for name, one in self.parameters.items()}


@torch.no_grad()
def read(model: HookedTransformer, given: Sequences) -> tuple[Tensor, list[Tensor]]:
    """Loss [sequence, predicted] in nats, and attention [sequence, head, query, key] of every layer."""
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.cfg.n_layers)]
    logits, cache = model.run_with_cache(given.tokens[:, :-1], names_filter=names)
    loss = F.cross_entropy(logits.flatten(0, 1), given.tokens[:, 1:].flatten(), reduction="none")
    return loss.view(len(given.tokens), -1), [cache[name] for name in names]


def induction_reader(given: Sequences) -> PatternReader:
    """Reads the induction score off the patterns of these sequences."""
    tokens = given.tokens[:, :-1]
    return PatternReader((INDUCTION,), text_layout(tokens, torch.ones_like(tokens, dtype=torch.bool)))


def measure(model: HookedTransformer, given: Sequences, step: int) -> Measurement:
    """What is drawn of a model."""
    (loss, patterns), reader = read(model, given), induction_reader(given)
    induction = torch.stack([reader(pattern)[0, 0].mean(0) for pattern in patterns])
    return Measurement(step, per_sequence(loss, given), induction, torch.stack([pattern[0] for pattern in patterns]))


class SideBySide:
    """Both models at some step of their training; ``steps`` goes on from where it was left."""

    def __init__(self, staged: Staged) -> None:
        if staged.steps % POINTS:
            raise ValueError(f"steps={staged.steps}; it must be a multiple of {POINTS}, which are measured.")
        self.staged, self.step = staged, 0
        self.trainees = {n_layers: Trainee(n_layers, staged.seed) for n_layers in LAYERS}
        self.given = sequences(N_MEASURED, MEASURED)
        self._note()

    def steps(self) -> Iterator[int]:
        """Train to the last step; yields after each, so that whoever reads it can stop in between and lose nothing."""
        while self.step < self.staged.steps:
            tokens = sequences(BATCH, self.staged.seed, TRAINING, self.step).tokens
            for trainee in self.trainees.values():
                trainee.take_step(tokens)
            self.step += 1
            if self.step % self.staged.every == 0:
                self._note()
            yield self.step

    def _note(self) -> None:
        for trainee in self.trainees.values():
            trainee.measured.append(measure(trainee.model, self.given, self.step))
            if self.step // self.staged.every in SAVED:
                trainee.save(self.step)

    def curves(self) -> "Curves":
        """What was measured so far."""
        return Curves({n_layers: Curve.of(trainee.measured) for n_layers, trainee in self.trainees.items()})

    def save(self) -> Path:
        """Both models with their checkpoints and curves, in one move: another process sees all of it or nothing."""
        folder = writable_store()
        make_room()
        made = Path(tempfile.mkdtemp(prefix="unfinished-", dir=folder))
        for n_layers, trainee in self.trainees.items():
            self._save_model(trainee, made / f"{n_layers}l")
        save_arrays(self.curves().arrays(), made / CURVES)
        if self.staged.is_here:
            shutil.rmtree(made)
        else:
            os.replace(made, self.staged.folder)
        return self.staged.folder

    def _save_model(self, trainee: Trainee, folder: Path) -> None:
        folder.mkdir()
        cfg, tokens = trainee.model.cfg, BATCH * N_CTX
        for step, weights in trainee.saved.items():
            recent = trainee.losses[max(0, step - 100) : step]
            train_loss = sum(recent) / len(recent) if recent else float("nan")
            header = Header(step, step * tokens, train_loss, float("nan"))
            save_checkpoint(weights, header, folder / checkpoint_name(step * tokens), torch.float32)
        sizes = {name: getattr(cfg, name) for name in ("n_layers", "n_heads", "d_model", "d_head", "n_ctx", "d_vocab")}
        structure = sizes | {"attn_only": True, "normalization": "LN", "eps": cfg.norm_eps}
        (folder / "config.json").write_text(json.dumps(structure), "utf-8")
        recipe = {"seed": self.staged.seed, "steps": self.staged.steps, "batch": BATCH, "n_ctx": N_CTX, "rate": RATE}
        (folder / "recipe.json").write_text(json.dumps(recipe), "utf-8")
        write_losses(folder / "loss.csv", trainee.losses)
        save_tokenizer(folder)


class Curve(NamedTuple):
    """One model over its training, numpy."""

    steps: Float[np.ndarray, " point"]
    loss: Float[np.ndarray, "point sequence"]
    induction: Float[np.ndarray, "point layer head"]
    pattern: Float[np.ndarray, "point layer head query key"]

    @classmethod
    def of(cls, measured: list[Measurement]) -> "Curve":
        """From what was measured, point by point; safe while a training adds more."""
        columns = list(zip(*list(measured)))
        return cls(np.array(columns[0]), *(torch.stack(column).numpy() for column in columns[1:]))

    @property
    def best(self) -> tuple[int, int]:
        """Layer and number of the head with the highest induction score at the last point."""
        return divmod(int(self.induction[-1].argmax()), self.induction.shape[2])


class Curves(NamedTuple):
    """Both models, by their number of layers."""

    of: dict[int, Curve]

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, to be kept in a file."""
        return {f"{layers}l.{name}": array for layers, one in self.of.items() for name, array in one._asdict().items()}


def curves_of(staged: Staged) -> Curves:
    """The curves of a pair on this machine, which counts as used now; FileNotFoundError if it is not here."""
    arrays = load_file(staged.folder / CURVES)
    os.utime(staged.folder)
    return Curves({n: Curve(*(arrays[f"{n}l.{name}"] for name in Curve._fields)) for n in LAYERS})


def train(staged: Staged, progress: Progress = silent) -> Curves:
    """Train both models, keep them on this machine, and return their curves; at once where they are here already."""
    if not staged.is_here:
        writable_store()  # asked before the work, not after it
        run = SideBySide(staged)
        for step in run.steps():
            progress(step / staged.steps, f"step {step}")
        run.save()
    return curves_of(staged)


class Unseen(NamedTuple):
    """A sequence that no model was trained on, and what both models make of it; numpy after ``analyse``."""

    words: list[str]  # with BOS; the last one is predicted, never read
    period: int
    loss: dict[int, Float[Tensor, " predicted"]]  # by number of layers, nats
    pattern: dict[int, Float[Tensor, "query key"]]  # of the best head of each
    heads: dict[int, tuple[int, int]]


def unseen(staged: Staged, number: int) -> Unseen:
    """The sequence of that number, read by both models of a pair on this machine."""
    curves, given = curves_of(staged), sequences(1, staged.seed, UNSEEN, number)
    losses, patterns, heads = {}, {}, {}
    for n_layers in LAYERS:
        model = HookedTransformer.from_pretrained(staged.name(n_layers))
        loss, pattern = read(model, given)
        layer, head = heads[n_layers] = curves.of[n_layers].best
        losses[n_layers], patterns[n_layers] = loss[0], pattern[layer][0, head]
    words = model.to_str_tokens(given.tokens[0])
    return Unseen(words, int(given.period), losses, patterns, heads)
