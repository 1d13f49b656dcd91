"""``python -m lens.train``: build the text, train the tokenizer, train a model.

    python -m lens.train corpus FOLDER                 # the text; needs apt-get and dpkg-deb
    python -m lens.train tokenizer FOLDER              # the tokenizer, and the text as ids
    python -m lens.train run FOLDER OUT --layers 2     # one model; the same command goes on after a stop
    python -m lens.train ship FOLDER OUT … --chosen OUT …  # what Lens ships of them, and the scores of all

Speed: preload tcmalloc (LD_PRELOAD=…/libtcmalloc_minimal.so.4) and give every model one thread.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m lens.train", description="How the shipped models were made.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("corpus", "tokenizer", "run", "ship"):
        verbs.add_parser(verb).add_argument("corpus", type=Path, metavar="FOLDER")
    run = verbs.choices["run"]
    run.add_argument("out", type=Path, metavar="OUT")
    run.add_argument("--layers", type=int, default=2)
    run.add_argument("--heads", type=int, default=4)
    run.add_argument("--d-head", type=int, default=64)
    run.add_argument("--steps", type=int, default=6000)
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--repeat-share", type=float, default=0.1)
    run.add_argument("--position-size", type=float, default=0.5)
    run.add_argument("--threads", type=int, default=1)
    shipping = verbs.choices["ship"]
    shipping.add_argument("runs", type=Path, nargs="+", metavar="OUT")
    shipping.add_argument("--chosen", type=Path, nargs="+", required=True, metavar="OUT")
    given = parser.parse_args(arguments)
    {"corpus": build_corpus, "tokenizer": build_tokenizer, "run": train, "ship": ship_runs}[given.verb](given)


def build_corpus(given: argparse.Namespace) -> None:
    """Write the training and the held-out text."""
    from lens.train.corpus import build

    print(json.dumps(build(given.corpus), indent=1))  # noqa: T201


def build_tokenizer(given: argparse.Namespace) -> None:
    """Write ``tokenizer.json``, ``tokens.npy`` and ``token_counts.json``."""
    from lens.train.vocabulary import encode, read_texts, save_token_counts, save_tokenizer, train_tokenizer

    texts = read_texts(given.corpus)
    tokenizer = train_tokenizer(texts)
    save_tokenizer(tokenizer, given.corpus)
    tokens = encode(tokenizer, texts)
    np.save(given.corpus / "tokens.npy", tokens)
    save_token_counts(tokens, tokenizer.get_vocab_size(), given.corpus)
    print(f"{tokenizer.get_vocab_size()} tokens in the vocabulary, {len(tokens):,} in the text")  # noqa: T201


def train(given: argparse.Namespace) -> None:
    """Train one model to its end."""
    from lens.train.recipe import Recipe
    from lens.train.run import open_run

    torch.set_num_threads(given.threads)
    recipe = Recipe(
        n_layers=given.layers,
        n_heads=given.heads,
        d_head=given.d_head,
        steps=given.steps,
        seed=given.seed,
        repeat_share=given.repeat_share,
        position_size=given.position_size,
    )
    open_run(recipe, given.corpus, given.out)


def ship_runs(given: argparse.Namespace) -> None:
    """Replace the shipped models by the chosen runs, write the table of all, and print it for the README."""
    from lens.train.ship import results_table, ship, write_runs

    for run in given.chosen:
        ship(run, given.corpus)
    write_runs(given.runs, given.chosen, given.corpus)
    print(results_table())  # noqa: T201


if __name__ == "__main__":
    main()
