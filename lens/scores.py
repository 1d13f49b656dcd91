"""``python -m lens scores MODEL``: any instruments of every head, as a table and as a file."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lens.analysis.instruments.registry import HEAD_SCORES, INSTRUMENTS, instruments_named
from lens.progress import part, printed

if TYPE_CHECKING:
    import pandas as pd

    from lens.analysis.instruments.instrument import Instrument
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScores
    from lens.hooked import HookedTransformer

DESCRIPTION = "Measure instruments in every attention head of a model, each against its null."
KINDS = (".csv", ".json", ".parquet")


def main(arguments: list[str] | None = None) -> int:
    """Print the table, and write it where ``--out`` says; 2 with a sentence for what cannot be measured."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        wanted = instruments_named([name.strip() for name in chosen.instruments.split(",") if name.strip()])
    except KeyError as error:
        parser.error(f"--instruments: {error.args[0]}")
    if chosen.out is not None and chosen.out.suffix not in KINDS:
        parser.error(f"--out {chosen.out}: the name must end in {', '.join(KINDS)}")
    try:
        scores, model = _measure(chosen, wanted)
    except (ValueError, KeyError, OSError) as error:
        parser.error(str(error) if isinstance(error, OSError) else str(error.args[0]))
    print(_table(scores))  # noqa: T201 - a command line
    for name, reason in scores.missing.items():
        print(f"{name}: {reason}.", file=sys.stderr)  # noqa: T201
    if chosen.out is not None:
        write(chosen.out, scores, wanted, model.name)
    return 0


def _parser() -> argparse.ArgumentParser:
    names = ", ".join(one.name for one in INSTRUMENTS)
    parser = argparse.ArgumentParser(prog="python -m lens scores", description=DESCRIPTION, epilog=f"Names: {names}.")
    parser.add_argument("model", help="an alias, a Hub id on this disk, or a folder")
    parser.add_argument("--instruments", default=",".join(HEAD_SCORES), help="names, by commas (default: %(default)s)")
    parser.add_argument("--out", type=Path, help=f"a file that ends in {', '.join(KINDS)}; one row per head and number")
    parser.add_argument("--n", type=int, default=25, help="random tokens before they repeat (default: %(default)s)")
    parser.add_argument("--seqs", type=int, default=16, help="random sequences (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: %(default)s)")
    parser.add_argument("--text", type=Path, help="a file whose paragraphs, each for itself, attention is read on")
    parser.add_argument("--task", help="for what heads are needed for: ioi, greater_than, … (default: the repeats)")
    return parser


def _measure(chosen: argparse.Namespace, wanted: "Sequence[Instrument]") -> "tuple[HeadScores, HookedTransformer]":
    import torch  # after the arguments are known to be right: it takes seconds

    from lens.analysis.instruments.measure import measure
    from lens.analysis.instruments.sample import repeats
    from lens.analysis.random_tokens import repeated_tokens
    from lens.hooked import HookedTransformer

    model = HookedTransformer.from_pretrained(chosen.model)
    bos = model.bos.id is not None and model.bos.prepend
    samples = [repeats(repeated_tokens(model, chosen.n, chosen.seqs, chosen.seed, bos))]
    if chosen.task:
        samples.append(_task(model, chosen.task, chosen.seed))
    with torch.no_grad():
        if chosen.text is None:
            found = measure(model, wanted, samples, printed)
        else:
            found = _with_text(model, wanted, samples, _text(model, chosen.text))
    print(file=sys.stderr)  # noqa: T201 - ends the line of the progress
    return found, model


def _with_text(
    model: "HookedTransformer", wanted: "Sequence[Instrument]", samples: "list[Sample]", texts: "Sample"
) -> "HeadScores":
    """Attention is read on the texts, the others on ``samples``."""
    from dataclasses import replace

    from lens.analysis.instruments.measure import measure

    patterns = [one for one in wanted if one.pattern is not None]
    others = [one for one in wanted if one.pattern is None]
    share = len(patterns) / len(wanted)
    on_texts = measure(model, patterns, [texts], part(printed, 0, share))
    found = measure(model, others, samples, part(printed, share, 1))
    every = {**on_texts.scores, **found.scores}
    ordered = {one.name: every[one.name] for one in wanted if one.name in every}
    source = "; ".join(filter(None, (on_texts.source, found.source)))
    return replace(found, scores=ordered, missing={**on_texts.missing, **found.missing}, source=source)


def _text(model: "HookedTransformer", path: Path) -> "Sample":
    from lens.analysis.instruments.sample import text
    from lens.tokens import padded

    paragraphs = [" ".join(part.split()) for part in path.read_text("utf-8").split("\n\n") if part.strip()]
    if not paragraphs:
        raise ValueError(f"{path} holds no text; write paragraphs, a blank line between them.")
    bos = model.bos.prepend if model.bos.id is not None else False
    return text(padded([model.all_ids(one, bos)[: model.cfg.n_ctx] for one in paragraphs], model.pad_id))


def _task(model: "HookedTransformer", name: str, seed: int) -> "Sample":
    from lens.analysis.instruments.sample import task_sample
    from lens.analysis.interventions.tasks import TASKS

    if name not in TASKS:
        raise ValueError(f"--task {name}: there is no such task; there are {', '.join(TASKS)}")
    return task_sample(TASKS[name](model, seed=seed))


def _table(scores: "HeadScores") -> str:
    """Heads down, instruments across; a star where a head exceeds chance."""
    frame = as_frame(scores)
    if frame.empty:
        return "Nothing could be measured."
    cells = [
        "" if value != value else f"{value:.4f}{'*' if above is True else ' '}"
        for value, above in zip(frame["value"].astype(float), frame["above"])
    ]
    wide = frame.assign(cell=cells).pivot(index=["layer", "index"], columns="instrument", values="cell")
    wide = wide[list(scores.scores)].set_axis([f"{layer}.{head}" for layer, head in wide.index])
    return f"{wide.to_string()}\n* beyond what chance gives the best of all heads. {scores.source}"


def as_frame(scores: "HeadScores") -> "pd.DataFrame":
    """One row per instrument and head."""
    import pandas as pd

    from lens.analysis.instruments.rows import rows

    return pd.DataFrame(rows(scores))


def write(path: Path, scores: "HeadScores", wanted: "Sequence[Instrument]", model: str) -> None:
    """The numbers as a table; as JSON with every definition, null and source as well."""
    frame = as_frame(scores).assign(model=model, sample=scores.source, seed=scores.seed)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        kinds = {name: score.kind._asdict() for name, score in scores.scores.items()}
        words = {
            one.name: {"title": one.title, "link": one.link, "misreading": one.misreading, **kinds[one.name]}
            for one in wanted
            if one.name in kinds
        }
        made = {"model": model, "sample": scores.source, "seed": scores.seed, "missing": dict(scores.missing)}
        made |= {"instruments": words, "heads": json.loads(frame.to_json(orient="records"))}
        path.write_text(json.dumps(made, indent=1, ensure_ascii=False), "utf-8")
