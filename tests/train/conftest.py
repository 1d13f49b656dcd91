import shutil

import numpy as np
import pytest
from tokenizers import Tokenizer

from lens.load.entries import SHIPPED
from lens.texts import held_out
from lens.train.recipe import Recipe
from lens.train.vocabulary import encode

TINY = Recipe(
    n_layers=2,
    n_heads=2,
    d_model=16,
    d_head=8,
    n_ctx=64,
    batch=4,
    steps=40,
    warm_up=5,
    save_every=10,
    shortest_repeat=16,
    decay_share=0.4,
)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder as the commands leave it, with four held-out chapters in place of the training text."""
    folder = tmp_path_factory.mktemp("corpus")
    for name in ("tokenizer.json", "tokenizer_config.json", "token_counts.json"):
        shutil.copyfile(SHIPPED / "lens-2l" / name, folder / name)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    np.save(folder / "tokens.npy", encode(tokenizer, list(held_out()[:4])))
    return folder
