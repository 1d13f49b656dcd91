"""What a sweep measured as a table: one row for each checkpoint, instrument and head, and its file."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lens import __version__
from lens.analysis.checkpoint import Setting
from lens.analysis.instruments.registry import instrument
from lens.load.checkpoints import Checkpoints, checkpoint_name
from lens.results import code_version

if TYPE_CHECKING:
    import pandas as pd

    from lens.analysis.training_run import MeasuredInstrument
    from lens.sweeps.job import Outcome

DONE = "measured"  # the status of a number; any other is a sentence that says why there is none
WHOLE = ("label", "tokens", "layer", "head", "n", "above")  # columns of whole numbers, empty where there is none


def as_frame(run: Checkpoints, names: Iterable[str], setting: Setting, outcomes: Iterable["Outcome"]) -> "pd.DataFrame":
    """One row for each checkpoint, instrument and head, in this order; one for what is missing, with the reason.

    ``null`` is the mean of what a number is compared with, ``low`` and ``high`` the ends of its interval,
    ``threshold`` what the best of all heads reaches by chance, ``above`` 1 beyond chance and 0 not; empty where there
    is none. ``n``: samples that it is the mean of. ``weights``: a hash of the checkpoint's files. ``curves_lost``: why
    the checkpoint has no point of the curves, which are no rows of the table; "" where it has, or none was asked.
    """
    import pandas as pd

    rows, names = [], list(names)
    for outcome in sorted(outcomes, key=lambda one: one.index):
        for name in names:
            rows += _rows(run, name, setting, outcome)
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(WHOLE, "Int64"))


COLUMNS = (
    "model", "revision", "checkpoint", "label", "label_unit", "tokens", "layer", "head", "instrument", "value", "null",
    "low", "high", "threshold", "above", "n", "seed", "unit", "lens", "weights", "parameters", "status",
    "curves_lost",
)  # fmt: skip


def _rows(run: Checkpoints, name: str, setting: Setting, outcome: "Outcome") -> list[dict[str, Any]]:
    point, one = run.at(outcome.index), outcome.measured.get(name)
    fixed = {
        "model": run.entry.alias,
        "revision": point.place,
        "checkpoint": checkpoint_name(run, outcome.index),
        "label": point.label,
        "label_unit": run.unit,
        "tokens": point.tokens,
        "instrument": name,
        "seed": setting.seed,
        "unit": instrument(name).unit,
        "lens": f"{__version__}+{code_version('lens.analysis.training_run')}",
        "weights": outcome.weights,
        "parameters": json.dumps(setting._asdict()),
        "curves_lost": outcome.curves_lost,
    }
    if one is None or one.scores is None:
        return [fixed | {"status": one.lost if one is not None else outcome.lacks.get(name, outcome.lost)}]
    return [fixed | row for row in _heads(one)]


def _heads(one: "MeasuredInstrument") -> list[dict[str, Any]]:
    layers, heads = one.scores.value.shape
    fixed = {"n": one.n, "unit": one.unit, "threshold": _number(one.scores.threshold), "status": DONE}
    numbers = {name: getattr(one.scores, name) for name in ("value", "null", "low", "high", "above")}
    return [
        {"layer": layer, "head": head} | fixed | {name: _number(each[layer, head]) for name, each in numbers.items()}
        for layer in range(layers)
        for head in range(heads)
    ]


def _number(value: Any) -> float | None:
    """None for NaN."""
    number = float(value)
    return number if number == number else None


def write(path: Path, frame: "pd.DataFrame", facts: Mapping[str, Any]) -> None:
    """The table as ``path`` ends; as JSON with every definition, null and source, and ``facts``. All of it or nothing.

    OSError where it cannot be written.
    """
    part = path.with_name(f".{path.name}-{uuid4().hex[:8]}{path.suffix}")
    try:
        if path.suffix == ".csv":
            frame.to_csv(part, index=False)
        elif path.suffix == ".parquet":
            frame.to_parquet(part, index=False)
        else:
            part.write_text(_json(frame, facts), "utf-8")
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _json(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> str:
    kinds = [instrument(name) for name in dict.fromkeys(frame["instrument"])]
    words = {
        one.name: {"title": one.title, "unit": one.unit, "link": one.link, "definition": one.definition}
        | {"null": one.null, "source": one.source, "misreading": one.misreading}
        for one in kinds
    }
    rows = json.loads(frame.to_json(orient="records"))
    return json.dumps({**facts, "instruments": words, "rows": rows}, indent=1, ensure_ascii=False)
