"""``python -m lens sweep``: instruments at the checkpoints of a training run, as a table, resumable."""

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from lens.analysis.instruments.registry import INSTRUMENTS, instruments_named
from lens.progress import printed

if TYPE_CHECKING:
    from lens.sweeps.sweep import Request, Sweep

DESCRIPTION = (
    "Measure instruments at the checkpoints of a training run. What was measured before, by a sweep that was stopped, "
    "by somebody else or on the page Training dynamics, is read from disk; the page opens what is measured here."
)
KINDS = (".parquet", ".csv", ".json")
BACKENDS = ("loky", "dask", "ray")
EPILOG = (
    "Checkpoints: {forms}. Names of instruments: {names}. Ends with 0 if everything was measured, 1 if a checkpoint "
    "was lost (each is named, and in the table), 2 for what does not exist."
)
STOPPED = 130  # as shells say of a program that was interrupted


def main(arguments: list[str] | None = None) -> int:
    """Print the plan, measure, and write the table where ``--out`` says; 2 with a sentence for what cannot be done."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    names = [name.strip() for name in chosen.instruments.split(",") if name.strip()]
    try:
        instruments_named(names)
    except KeyError as error:
        parser.error(f"--instruments: {error.args[0]}")
    if chosen.out is not None and chosen.out.suffix not in KINDS:
        parser.error(f"--out {chosen.out}: the name must end in {', '.join(KINDS)}")
    if chosen.out is not None and not chosen.out.absolute().parent.is_dir():
        parser.error(f"--out {chosen.out}: there is no folder {chosen.out.absolute().parent}")
    try:
        return _sweep(chosen, names)
    except (ValueError, KeyError, OSError, ImportError) as error:
        parser.error(str(error.args[0]) if isinstance(error, KeyError) else str(error))
    except KeyboardInterrupt:
        print("\nStopped. What is done is kept: the same command goes on from here.", file=sys.stderr)  # noqa: T201
        return STOPPED


def _sweep(chosen: argparse.Namespace, names: list[str]) -> int:
    from lens.analysis.checkpoint import Setting  # after the arguments are known to be right: torch takes seconds
    from lens.load.checkpoints import checkpoints
    from lens.sweeps.sweep import Workers, measure, plan, request

    start, setting = perf_counter(), Setting(n=chosen.n, seqs=chosen.seqs, seed=chosen.seed)
    workers = Workers(chosen.workers, chosen.backend, chosen.cluster)
    run = checkpoints(chosen.model, chosen.pattern)
    asked = request(run, names, chosen.checkpoints, setting, workers, chosen.keep, chosen.curves)
    for sentence in plan(asked).sentences(asked.run.entry.alias):
        print(sentence, flush=True)  # noqa: T201 - a command line
    if chosen.dry_run:
        return 0
    made = measure(asked, printed)
    print(file=sys.stderr)  # noqa: T201 - ends the line of the progress
    for name, why in made.lacks.items():
        print(f"{name}: {why}.", file=sys.stderr)  # noqa: T201
    print(f"{_summary(made)} {perf_counter() - start:.0f} s.")  # noqa: T201
    kept = chosen.out is None or _write(chosen.out, asked, made)
    return 0 if kept and not made.lost else 1


def _summary(made: "Sweep") -> str:
    whole = sum(not one.reasons for one in made.outcomes)
    said = f"{made.run.entry.alias}: {whole} of {len(made.outcomes)} checkpoints measured whole."
    return " ".join([said, *(f"{sentence.removesuffix('.')}." for sentence in made.lost)])


def _write(path: Path, asked: "Request", made: "Sweep") -> bool:
    """Whether the table could be written; a sentence where not."""
    from lens.results import results_folder
    from lens.sweeps.table import write

    facts = {"model": asked.run.entry.alias, "setting": asked.setting._asdict(), "lost": list(made.lost)}
    try:
        write(path, made.frame(), facts)
    except OSError as error:
        print(  # noqa: T201
            f"{path} could not be written ({error}). What was measured is kept in {results_folder()}: the same command "
            "with another --out writes it without measuring again.",
            file=sys.stderr,
        )
        return False
    return True


def _parser() -> argparse.ArgumentParser:
    from lens.sweeps.chosen import FORMS

    epilog = EPILOG.format(forms=FORMS, names=", ".join(one.name for one in INSTRUMENTS))
    parser = argparse.ArgumentParser(prog="python -m lens sweep", description=DESCRIPTION, epilog=epilog)
    add = parser.add_argument
    add("--model", required=True, help="an alias, a Hub id, or a folder with checkpoints")
    add("--checkpoints", default="all", help="which of them, see below (default: %(default)s)")
    add("--pattern", help="how they are named where that is not known: step{step}, checkpoint-{step}, …")
    add("--instruments", default="induction,previous", help="names, by commas (default: %(default)s)")
    add("--out", type=Path, help=f"a file that ends in {', '.join(KINDS)}; one row per checkpoint, instrument and head")
    add("--dry-run", action="store_true", help="print what it takes in time, disk and download, and end")
    add("--workers", type=int, default=1, help="local processes (default: 1, which is this one)")
    add("--backend", choices=BACKENDS, default="", help="dask or ray: a cluster that is running, see lens[dask]")
    add("--cluster", default="", help="its address, such as tcp://host:8786; its workers should share $LENS_CACHE")
    add("--keep", type=int, help="downloaded checkpoints that are on the disk at any time (default: all)")
    add("--curves", action=argparse.BooleanOptionalAction, default=True, help="also what the page draws beside them")
    add("--n", type=int, default=25, help="random tokens before they repeat (default: %(default)s)")
    add("--seqs", type=int, default=16, help="random sequences (default: %(default)s)")
    add("--seed", type=int, default=0, help="of everything that is drawn (default: %(default)s)")
    return parser
