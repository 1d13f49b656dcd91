"""A model during its training: which checkpoints there are, by tokens or steps, and where each one lies."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from lens.load import hub
from lens.load.arriving import is_whole
from lens.load.catalogue import cached_id, resolve
from lens.load.entries import Entry
from lens.load.files import is_complete, read_json
from lens.load.patterns import Kind, Pattern, kind_of

TRAINER_STATE = "trainer_state.json"


class Checkpoint(NamedTuple):
    """One checkpoint. ``place`` is a revision of the Hub, or a file or folder of the model's own folder."""

    index: int
    label: int
    tokens: int | None  # seen in training so far; None where nobody wrote it down
    place: str


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one model, first to last.

    ``labels`` count ``unit``; ``tokens`` is the same axis in tokens, None where that is not known. ``where``: each is a
    revision of the Hub, a weight file, or a model folder, named by ``places``. ``source``: whether the labels are the
    names that were found, or come from the formula by which the run saved.
    """

    entry: Entry
    labels: tuple[int, ...]
    unit: Literal["tokens", "steps"]
    places: tuple[str, ...]
    where: Literal["revisions", "files", "folders"]
    source: Literal["formula", "revisions", "files", "folders"]
    tokens_per_step: int | None = None
    tokens: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: int | None = None, value: int | None = None) -> Checkpoint:
        """The checkpoint of that index (negative: from the end) or of that label; ValueError offers the nearest."""
        if (index is None) == (value is None):
            raise ValueError("Give either the index or the value of a checkpoint, one of the two.")
        if value is not None:
            if value not in self.labels:
                near = min(range(len(self)), key=lambda i: abs(self.labels[i] - value))
                raise ValueError(
                    f"{self.entry.alias} has no checkpoint at {value:,} {self.unit}; "
                    f"the nearest is {self.labels[near]:,} (checkpoint_value={self.labels[near]}, index {near})."
                )
            index = self.labels.index(value)
        if not -len(self) <= index < len(self):
            raise ValueError(
                f"{self.entry.alias} has {len(self)} checkpoints, index 0 … {len(self) - 1} or −1 … −{len(self)}; "
                f"got {index}."
            )
        index %= len(self)
        return Checkpoint(index, self.labels[index], self.tokens and self.tokens[index], self.places[index])

    def is_local(self, index: int) -> bool:
        """Whether that checkpoint can be read without a download."""
        place = self.at(index).place
        if self.entry.hub_id is None:
            return True
        revision, weights = (place, None) if self.where == "revisions" else (None, place)
        return cached_id(self.entry, revision, weights) is not None


def checkpoints(
    name: str | Entry, pattern: str | None = None, *, tokens_per_step: int | None = None, arriving: bool = False
) -> Checkpoints:
    """The checkpoints of a model: of the catalogue, of a Hub repository, or of a training run on this machine.

    ``pattern`` says how they are named, where that is not known (:class:`lens.load.patterns.Pattern`): revisions of a
    Hub repository (``"step{step}"``), weight files of a repository or folder (``"model-{step}.safetensors"``), or model
    folders (``"checkpoint-{step}"``, the default on this machine, as the Hugging Face Trainer names them).
    ``tokens_per_step``: how many tokens one step of one's own run read, if its files do not say. Folders without a
    config or without all their weights, such as the one a run was saving when it ended, are left out. ``arriving``: of
    a run that still trains, also those whose files are not written to their end; else such a file is an error of the
    checkpoint when it is opened, by name.

    Lists of files are asked of the Hub; with no network they come from the formula of the run, where its numbers are
    known. ValueError says that there are no checkpoints, ConnectionError that their labels are not known offline.
    """
    entry = resolve(name) if isinstance(name, str) else name
    known = entry.checkpoints or ("local" if entry.path is not None else "")
    if pattern is None and not known:
        raise ValueError(
            f"Lens knows no training checkpoints of {entry.alias!r}. Give the pattern of their names, such as "
            "'step{step}', or a model that has some, such as attn-only-2l, pythia-70m or stanford-gpt2-small-a."
        )
    kind = kind_of(known) if pattern is None else Kind((Pattern(pattern),))
    kind = replace(kind, tokens_per_step=tokens_per_step or kind.tokens_per_step)
    if entry.path is not None:
        return _of_folder(entry, kind, is_whole if arriving else is_complete)
    if entry.hub_id is None:
        raise ValueError(f"{entry.alias} is a single file inside a Python package; it has no checkpoints.")
    return _of_files(entry, kind) if kind.patterns[0].is_file else _of_revisions(entry, kind)


def place_name(label: int, unit: str) -> str:
    """A point of training in words: "2.5M tokens", "step 400"."""
    if unit == "steps":
        return f"step {label:,}"
    for size, sign in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if label >= size:
            return f"{label / size:.3g}{sign} tokens"
    return f"{label} tokens"


def checkpoint_name(run: Checkpoints, index: int) -> str:
    """A checkpoint in words, by tokens where they are known."""
    point = run.at(index)
    return place_name(point.label, run.unit) if point.tokens is None else place_name(point.tokens, "tokens")


class Chosen(NamedTuple):
    """One checkpoint, the list it is of, and the revision that is asked for besides."""

    checkpoints: Checkpoints
    checkpoint: Checkpoint
    revision: str | None


def chosen_checkpoint(
    of: Entry | Checkpoints, revision: str | None, index: int | None, value: int | None
) -> Chosen | None:
    """The checkpoint that is meant: by index or value, by the name of its file or folder, or the last of a shipped run.

    None where no checkpoint is meant: the model as it was published.
    """
    entry, run = (of.entry, of) if isinstance(of, Checkpoints) else (of, None)
    if run is None and index is None and value is None:
        named = None if revision is None else checkpoint_named(entry, revision)
        if named is not None or revision is not None or not entry.shipped:
            return named
        index = -1
    run = run or checkpoints(entry)
    return Chosen(run, run.at(index, value), revision)


def checkpoint_named(entry: Entry, revision: str) -> Chosen | None:
    """The checkpoint whose file or folder ``revision`` names; None for any other revision.

    Checkpoints that are revisions of the Hub need no such help. ValueError for a name that could be one and is none.
    """
    if entry.path is not None and entry.path.is_dir():
        kind = kind_of(entry.checkpoints or "local")
    elif entry.hub_id is not None and entry.checkpoints and kind_of(entry.checkpoints).patterns[0].is_file:
        kind = kind_of(entry.checkpoints)
    else:
        return None
    if not any(pattern.matches([revision]) for pattern in kind.patterns):
        return None
    run = checkpoints(entry)
    if revision not in run.places:
        raise ValueError(
            f"{entry.alias} has no checkpoint {revision!r}; it has {run.places[0]} … {run.places[-1]} "
            f"({len(run)} in all)."
        )
    return Chosen(run, run.at(run.places.index(revision)), None)


def _of_revisions(entry: Entry, kind: Kind) -> Checkpoints:
    if kind.labels:  # the exact list: asking would tell nothing new
        return _from_formula(entry, kind, "revisions")
    found, pattern = _first(kind, hub.revisions(entry.hub_id), entry)
    return _made(entry, kind, pattern, found, "revisions")


def _of_files(entry: Entry, kind: Kind) -> Checkpoints:
    try:
        names = hub.listing(entry.hub_id).sizes
    except hub.NoNetwork as error:
        if kind.labels:
            return _from_formula(entry, kind, "files")
        raise ConnectionError(
            f"The checkpoint labels of {entry.alias} are not known offline: the Hub cannot be reached, and nobody "
            "wrote down when this model saved."
        ) from error
    found, pattern = _first(kind, names, entry)
    return _made(entry, kind, pattern, found, "files")


def _of_folder(entry: Entry, kind: Kind, is_there: Callable[[Path], bool]) -> Checkpoints:
    if not entry.path.is_dir():
        raise ValueError(f"{entry.path} is a file; the checkpoints of a run lie in a folder.")
    depth = max(pattern.text.count("/") for pattern in kind.patterns)
    below = [path for level in range(depth + 1) for path in entry.path.glob("/".join(["*"] * (level + 1)))]
    names = [path.relative_to(entry.path).as_posix() for path in below if path.is_file() or is_there(path)]
    found, pattern = _first(kind, names, entry)
    if pattern.is_file:
        return _made(entry, kind, pattern, found, "files")
    made = _made(entry, kind, pattern, _trainer_steps(entry, pattern, found), "folders")
    return made if made.tokens else _with_trainer_tokens(made)


def _first(kind: Kind, names: Iterable[str], entry: Entry) -> tuple[dict[int, str], Pattern]:
    names = list(names)
    for pattern in kind.patterns:
        found = pattern.matches(names)
        if found:
            return found, pattern
    wanted = " or ".join(repr(pattern.text) for pattern in kind.patterns)
    raise ValueError(f"{entry.alias} has no checkpoints named {wanted}. Give the pattern of their names.")


def _from_formula(entry: Entry, kind: Kind, where: Literal["revisions", "files"]) -> Checkpoints:
    (pattern,) = kind.patterns
    return _made(entry, kind, pattern, {label: pattern.name(label) for label in kind.labels}, where, "formula")


def _made(
    entry: Entry, kind: Kind, pattern: Pattern, found: Mapping[int, str], where: str, source: str | None = None
) -> Checkpoints:
    labels, each = tuple(found), kind.tokens_per_step
    if pattern.unit == "tokens" and each is None and kind.whole_steps:
        each = math.gcd(*labels)
    tokens = labels if pattern.unit == "tokens" else tuple(step * each for step in labels) if each else None
    return Checkpoints(
        entry=entry,
        labels=labels,
        unit=pattern.unit,
        places=tuple(found.values()),
        where=where,
        source=source or where,
        tokens_per_step=each,
        tokens=tokens,
    )


def _trainer_steps(entry: Entry, pattern: Pattern, found: Mapping[int, str]) -> dict[int, str]:
    """Steps as the Trainer wrote them down in each folder, whatever number is in its name (an epoch, a run's own)."""
    steps: dict[int, str] = {}
    for number, place in found.items():
        file = entry.path / place / TRAINER_STATE
        written = read_json(file).get("global_step") if pattern.unit == "steps" and file.is_file() else None
        step = number if written is None else written
        if steps.setdefault(step, place) != place:
            raise ValueError(f"{steps[step]!r} and {place!r} of {entry.alias} are both step {step}; leave one out.")
    return dict(sorted(steps.items()))


def _with_trainer_tokens(made: Checkpoints) -> Checkpoints:
    """Tokens as the Trainer counted them, which it does when told to (``include_num_input_tokens_seen``)."""
    files: list[Path] = [made.entry.path / place / TRAINER_STATE for place in made.places]
    if not all(file.is_file() for file in files):
        return made
    tokens = tuple(read_json(file).get("num_input_tokens_seen") or 0 for file in files)
    counted = all(count > 0 or step == 0 for count, step in zip(tokens, made.labels, strict=True))
    return replace(made, tokens=tokens) if counted else made
