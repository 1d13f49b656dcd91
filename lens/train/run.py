"""The training loop: resumes where it stopped, and saves what the shipped models are made of."""

import csv
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from lens.hooked import HookedTransformer
from lens.texts import held_out
from lens.train.batches import Contexts
from lens.train.forward import training_loss
from lens.train.optimise import Muon, attention_matrices, rate
from lens.train.recipe import Recipe, new_model, trained
from lens.train.scores import Scores, held_out_contexts, score

STATE, LOG, SCORES = "state.pt", "loss.csv", "scores.csv"
CHANGEABLE = {"steps", "save_every"}  # a run may be made longer before its rates fall


class Run:
    """A model, its optimisers and its text, at some step. ``folder`` holds everything that it needs to go on."""

    def __init__(self, recipe: Recipe, corpus: Path, folder: Path):
        self.recipe, self.folder, self.step, self.losses = recipe, folder, 0, []
        self.model = new_model(recipe, corpus)
        plan = recipe.plan()
        self.contexts = Contexts(np.load(corpus / "tokens.npy", mmap_mode="r"), plan, self.model.bos.id)
        self.held_out = held_out_contexts(self.model, held_out())
        self.parameters = trained(self.model)
        matrices = attention_matrices(self.model)
        others = [one for one in self.parameters.values() if all(one is not matrix for matrix in matrices)]
        self.muon = Muon(matrices, weight_decay=recipe.muon_weight_decay)
        self.adam = torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=recipe.weight_decay)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).is_file():
            self.resume()
        (folder / "recipe.json").write_text(json.dumps(recipe.as_dict(), indent=1))

    def resume(self) -> None:
        """Go back to the last save. ValueError if it is of another recipe, or of one whose rates already fall."""
        saved = torch.load(self.folder / STATE, weights_only=True)
        ours, theirs = self.recipe.as_dict(), saved["recipe"]
        other = [name for name in ours if ours[name] != theirs[name]]
        falling = saved["step"] > (1 - theirs["decay_share"]) * min(theirs["steps"], ours["steps"])
        if set(other) - CHANGEABLE or ("steps" in other and falling):
            raise ValueError(f"{self.folder} holds a run that differs in {', '.join(other)}; give another folder.")
        self.step, self.losses = saved["step"], saved["losses"]
        self.model.load_state_dict(saved["model"])
        self.muon.load_state_dict(saved["muon"])
        self.adam.load_state_dict(saved["adam"])

    def advance(self, until: int | None = None) -> None:
        """Train to the last step, or to ``until``; what is saved on the way does not depend on where a run stopped."""
        until = self.recipe.steps if until is None else until
        if self.step == 0:
            self.save()
        while self.step < until:
            self.losses.append(self.take_step())
            self.step += 1
            if self.step % self.recipe.save_every == 0 or self.step == self.recipe.steps:
                self.save()

    def take_step(self) -> float:
        """One step of both optimisers; the loss before it, nats."""
        share = rate(self.step, self.recipe.steps, self.recipe.warm_up, self.recipe.decay_share)
        self.muon.param_groups[0]["lr"] = share * self.recipe.muon_rate
        self.adam.param_groups[0]["lr"] = share * self.recipe.adam_rate
        self.model.zero_grad(set_to_none=True)
        loss = training_loss(self.model, self.contexts.batch(self.step))
        loss.backward()
        clip_grad_norm_(self.parameters.values(), self.recipe.clip)
        self.muon.step()
        self.adam.step()
        return loss.item()

    def save(self) -> None:
        """A checkpoint in the shipped format, the scores and losses so far, and the state to resume from."""
        recent = self.losses[-100:]
        train_loss = sum(recent) / len(recent) if recent else float("nan")
        tokens = self.step * self.recipe.tokens_per_step
        found = score(self.model, self.step, tokens, train_loss, self.held_out)
        header = Header(self.step, tokens, train_loss, found.held_out_loss)
        save_checkpoint(self.parameters, header, self.folder / checkpoint_name(tokens))
        write_scores(self.folder / SCORES, found)
        write_losses(self.folder / LOG, self.losses)
        state = {"recipe": self.recipe.as_dict(), "step": self.step, "losses": self.losses}
        state |= {"model": self.model.state_dict(), "muon": self.muon.state_dict(), "adam": self.adam.state_dict()}
        torch.save(state, self.folder / f"{STATE}.part")
        (self.folder / f"{STATE}.part").replace(self.folder / STATE)  # a stop while saving loses nothing


class Header(NamedTuple):
    """What a checkpoint's file says of itself."""

    step: int
    tokens: int
    train_loss: float  # nats, mean of the last 100 steps
    held_out_loss: float  # nats


def checkpoint_name(tokens: int) -> str:
    """The file of a checkpoint, in the folder of its model."""
    return f"checkpoints/tokens_{tokens:012}.safetensors"


def save_checkpoint(
    parameters: dict[str, Tensor], header: Header, file: Path, dtype: torch.dtype = torch.float16
) -> None:
    """Write the weights, in fp16 unless asked otherwise, with ``header`` in the file's metadata."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: one.detach().to(dtype).contiguous() for name, one in parameters.items()}
    save_file(tensors, file, {name: str(value) for name, value in header._asdict().items()})


def write_scores(file: Path, row: Scores) -> None:
    """Add ``row`` to the table, in place of the rows that a resumed run repeats."""
    rows = [] if not file.is_file() else list(csv.DictReader(file.open(newline="")))
    rows = [one for one in rows if int(one["step"]) < row.step] + [row._asdict()]
    with file.open("w", newline="") as table:
        writer = csv.DictWriter(table, Scores._fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_losses(file: Path, losses: list[float]) -> None:
    """The loss of every step, nats."""
    lines = "".join(f"{step},{loss:.5f}\n" for step, loss in enumerate(losses))
    file.write_text("step,loss\n" + lines)


def open_run(recipe: Recipe, corpus: Path, folder: Path) -> HookedTransformer:
    """Train to the end and return the model."""
    run = Run(recipe, corpus, folder)
    run.advance()
    return run.model
