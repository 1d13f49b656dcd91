"""``transformer_lens.evals``: quick looks at how good a model is."""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

import lens
from lens.compat.datasets import tokenize_and_concatenate
from lens.compat.utils import lm_cross_entropy_loss

BOOK = Path(lens.__file__).parent / "assets" / "texts" / "alice.txt"
LOW, HIGH = 100, 20000  # the ids from which the classic library draws random tokens
SOURCES = {  # Hugging Face dataset, its arguments, its column of texts
    "wiki": ("wikitext", {"name": "wikitext-2-v1"}, "text"),
    "owt": ("stas/openwebtext-10k", {}, "text"),
    "pile": ("NeelNanda/pile-10k", {}, "text"),
    "code": ("codeparrot/codeparrot-valid-v2-near-dedup", {}, "content"),
}
PARAGRAPH = (
    "Many important transition points in the history of science have been moments when science 'zoomed in.' At these "
    "points, we develop a visualization or tool that allows us to see the world in a new level of detail, and a new "
    "field of science develops to study the world through this lens."
)


def book() -> list[str]:
    """The chapters of "Alice's Adventures in Wonderland" (Lewis Carroll, 1865), which Lens ships."""
    return BOOK.read_text("utf-8").split("\n\n\n")


def sanity_check(model: Any) -> Float[Tensor, ""]:
    """Loss on one paragraph, nats per token: below 5 a trained model of English is in order, above 7 it is not.

    Source of the text: Olah et al. 2020, "Zoom In: An Introduction to Circuits".
    """
    return model(PARAGRAPH, return_type="loss")


def _loader(name: str, tokenizer: Any, batch_size: int, max_length: int) -> DataLoader:
    path, arguments, column = SOURCES[name]
    texts = _downloaded(path, arguments) or [{column: chapter} for chapter in book()]
    rows = tokenize_and_concatenate(texts, tokenizer, max_length=max_length, column_name=column)
    return DataLoader(rows, batch_size=batch_size, shuffle=True, drop_last=len(rows) >= batch_size)


def _downloaded(path: str, arguments: dict[str, str]) -> Any:
    """The dataset; None, and it prints so, where its library or the network is missing."""
    why = "the library datasets is not installed"
    if importlib.util.find_spec("datasets") is not None:
        from datasets import load_dataset

        try:
            return load_dataset(path, split="train", **arguments)
        except OSError as error:  # ConnectionError, and FileNotFoundError offline
            why = str(error)
    print(f"No {path}: {why}. These batches are of Alice in Wonderland, which Lens ships.")  # noqa: T201
    return None


def make_wiki_data_loader(tokenizer: Any, batch_size: int = 8, max_length: int = 1024) -> DataLoader:
    """Batches {"tokens": [batch, pos]} of Wikitext-2."""
    return _loader("wiki", tokenizer, batch_size, max_length)


def make_owt_data_loader(tokenizer: Any, batch_size: int = 8, max_length: int = 1024) -> DataLoader:
    """Batches {"tokens": [batch, pos]} of OpenWebText."""
    return _loader("owt", tokenizer, batch_size, max_length)


def make_pile_data_loader(tokenizer: Any, batch_size: int = 8, max_length: int = 1024) -> DataLoader:
    """Batches {"tokens": [batch, pos]} of the first 10,000 texts of the Pile.

    Without the ``datasets`` library or a network they come from a book that Lens ships; it prints so.
    """
    return _loader("pile", tokenizer, batch_size, max_length)


def make_code_data_loader(tokenizer: Any, batch_size: int = 8, max_length: int = 1024) -> DataLoader:
    """Batches {"tokens": [batch, pos]} of Python code."""
    return _loader("code", tokenizer, batch_size, max_length)


@torch.no_grad()
def evaluate_on_dataset(model: Any, data_loader: Any, truncate: int = 100, device: Any = None) -> float:
    """Mean loss, nats per token, over at most ``truncate`` batches. (The classic library divided by one too few.)"""
    losses = []
    for number, batch in enumerate(data_loader):
        if number == truncate:
            break
        losses.append(model(batch["tokens"].to(device or model.device), return_type="loss").item())
    if not losses:
        raise ValueError("evaluate_on_dataset: there is no batch to average over.")
    return sum(losses) / len(losses)


@torch.no_grad()
def induction_loss(
    model: Any,
    tokenizer: Any = None,
    batch_size: int = 4,
    subseq_len: int = 384,
    prepend_bos: bool | None = None,
    device: Any = None,
) -> Float[Tensor, ""]:
    """Mean loss, nats per token, on the second copy of repeated random tokens, after its first token.

    The ids are random from 100 to 20,000, as far as the vocabulary goes. BOS stands before the first copy; the classic
    library overwrote the copy's first token with it, and left out one more token of the second copy.
    """
    prepend = model.cfg.default_prepend_bos if prepend_bos is None else prepend_bos
    low, high = LOW, min(HIGH, model.cfg.d_vocab)
    if high - low < subseq_len:  # a small vocabulary: all of it
        low = 0
    block = torch.randint(low, high, (batch_size, subseq_len))
    tokens = torch.cat([block, block], dim=1)
    if prepend:
        bos = model.bos.id if tokenizer is None or model.bos.id is not None else tokenizer.bos_token_id
        tokens = torch.cat([torch.full((batch_size, 1), bos), tokens], dim=1)
    tokens = tokens.to(device or model.device)
    loss = lm_cross_entropy_loss(model(tokens, return_type="logits"), tokens, per_token=True)
    return loss[:, subseq_len + bool(prepend) :].mean()


def evaluate(model: Any, truncate: int = 100, batch_size: int = 8, tokenizer: Any = None) -> dict[str, float]:
    """Mean loss on four sets of texts, printed and returned under "wiki_loss", …."""
    losses = {}
    for name in SOURCES:
        loader = _loader(name, tokenizer or model.tokenizer, batch_size, min(1024, model.cfg.n_ctx))
        losses[f"{name}_loss"] = evaluate_on_dataset(model, loader, truncate)
        print(f"{name}: {losses[f'{name}_loss']}")  # noqa: T201
    return losses
