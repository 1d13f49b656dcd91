"""From finished runs to the files that Lens ships: some of the checkpoints of the chosen ones, the scores of all."""

import csv
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file

from lens.load.entries import SHIPPED
from lens.load.files import TOKEN_COUNTS
from lens.load.tokenizer import read_tokenizer
from lens.load.training_records import RUNS
from lens.texts import held_out
from lens.train.recipe import Recipe, new_model
from lens.train.run import LOG, Header, checkpoint_name
from lens.train.scores import Scores, held_out_contexts, score

# Dense where the change happens. Every run saves every 100 steps; the rest would not fit beside them.
STEPS = (0, 300, *range(600, 1700, 100), 1800, 2000, 2300, 2800, 3300, 3800, 4600, 5300, 6000)
RUN_COLUMNS = ("model", "seed", "repeat_share", "steps", "shipped")  # before those of Scores


def ship(run: Path, corpus: Path, steps: Iterable[int] = STEPS) -> None:
    """Copy the checkpoints of ``run`` at ``steps``, with config, tokenizer and losses, to the folder of its model."""
    recipe = read_recipe(run)
    target = SHIPPED / f"lens-{recipe.n_layers}l"
    shutil.rmtree(target, ignore_errors=True)
    (target / "checkpoints").mkdir(parents=True)
    for step in steps:
        name = checkpoint_name(step * recipe.tokens_per_step)
        shutil.copyfile(run / name, target / name)
    for name in ("tokenizer.json", "tokenizer_config.json", TOKEN_COUNTS):
        shutil.copyfile(corpus / name, target / name)
    shutil.copyfile(run / LOG, target / LOG)
    cfg = recipe.config(read_tokenizer(corpus, {}).vocab_size)
    sizes = {name: getattr(cfg, name) for name in ("n_layers", "n_heads", "d_model", "d_head", "n_ctx", "d_vocab")}
    structure = sizes | {"attn_only": True, "normalization": "LN", "eps": cfg.norm_eps}
    write_json(target / "config.json", structure)
    write_json(target / "recipe.json", recipe.as_dict())


def write_runs(runs: Sequence[Path], shipped: Sequence[Path], corpus: Path, file: Path = RUNS) -> None:
    """One table of the scores of all ``runs`` over training, computed from their checkpoint files."""
    rows = [row for run in runs for row in rows_of(run, run in shipped, corpus)]
    with file.open("w", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, (*RUN_COLUMNS, *Scores._fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def rows_of(run: Path, shipped: bool, corpus: Path) -> list[dict]:
    """The rows of one run, at the steps that are shipped."""
    recipe = read_recipe(run)
    about = {"model": f"lens-{recipe.n_layers}l", "seed": recipe.seed, "repeat_share": recipe.repeat_share}
    about |= {"steps": recipe.steps, "shipped": shipped}
    folder = SHIPPED / about["model"] if shipped else run
    return [about | rounded(one) for one in scores_of_folder(folder, recipe, corpus)]


def scores_of_folder(folder: Path, recipe: Recipe, corpus: Path, steps: Iterable[int] = STEPS) -> list[dict]:
    """The scores of the checkpoint files of a model's folder at ``steps``; those that it does not have are left out."""
    model = new_model(recipe, corpus)
    contexts = held_out_contexts(model, held_out())
    found = []
    files = [folder / checkpoint_name(step * recipe.tokens_per_step) for step in steps]
    for file in filter(Path.is_file, files):
        header = read_header(file)
        weights = {name: tensor.float() for name, tensor in load_file(file).items()}
        model.load_state_dict(weights, strict=False)
        found.append(score(model, header.step, header.tokens, header.train_loss, contexts)._asdict())
    return found


def read_header(file: Path) -> Header:
    """What a checkpoint's file says of itself."""
    with safe_open(file, "pt") as opened:
        said = opened.metadata()
    return Header(int(said["step"]), int(said["tokens"]), float(said["train_loss"]), float(said["held_out_loss"]))


def rounded(row: dict) -> dict:
    """``row`` with numbers of five decimals."""
    whole = ("step", "tokens", "best_head")
    return {name: value if name in whole else f"{float(value):.5f}" for name, value in row.items()}


def read_recipe(run: Path) -> Recipe:
    """The recipe of a run's folder."""
    return Recipe(**json.loads((run / "recipe.json").read_text("utf-8")))


def write_json(file: Path, values: dict) -> None:
    """``values`` as a readable file."""
    file.write_text(json.dumps(values, indent=1) + "\n", "utf-8")


def results_table(file: Path = RUNS) -> str:
    """The last row of every run, as the Markdown table of ``assets/README.md``."""
    with file.open(encoding="utf-8", newline="") as table:
        last = {(row["model"], row["seed"], row["repeat_share"]): row for row in csv.DictReader(table)}
    head = ["model", "seed", "repeats", "tokens", "held-out loss", "prefix matching (control)", "best head"]
    head += ["previous token", "loss on random tokens, first → second copy", "top-1 on the second copy", "shipped"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *map(_result, last.values())])


def _result(row: dict[str, str]) -> str:
    share, top1 = float(row["repeat_share"]), float(row["second_copy_top1"])
    cells = [row["model"], row["seed"], f"{share:.0%}", f"{int(row['tokens']) / 1e6:.1f}M"]
    cells += [f"{float(row['held_out_loss']):.3f}"]
    cells += [f"{float(row['prefix_matching']):.2f} ({float(row['prefix_control']):.2f})", row["best_head"]]
    cells += [f"{float(row['previous_token']):.2f}"]
    cells += [f"{float(row['first_copy_loss']):.2f} → {float(row['second_copy_loss']):.2f}", f"{top1:.0%}"]
    return "| " + " | ".join([*cells, "yes" if row["shipped"] == "True" else ""]) + " |"
