"""Texts as rows of tokens of equal length, ready for training, with no library beyond torch."""

from collections.abc import Iterable, Mapping
from typing import Any, Self

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset


class TokenDataset(Dataset):
    """Rows of tokens. ``data["tokens"]`` is all of them [row, pos]; ``data[3]`` and ``data[:4]`` are {"tokens": …}."""

    def __init__(self, tokens: Int[Tensor, "row pos"]):
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key != "tokens":
                raise KeyError(f"This dataset has one column, 'tokens', not {key!r}.")
            return self.tokens
        return {"tokens": self.tokens[key]}

    def shuffle(self, seed: int | None = None) -> Self:
        """The rows in a random order."""
        generator = torch.Generator().manual_seed(seed) if seed is not None else None
        return type(self)(self.tokens[torch.randperm(len(self), generator=generator)])

    def select(self, indices: Iterable[int]) -> Self:
        """Some of the rows."""
        return type(self)(self.tokens[list(indices)])

    def __repr__(self) -> str:
        return f"TokenDataset({len(self)} rows of {self.tokens.shape[1]} tokens)"


def texts_of(dataset: Any, column_name: str) -> list[str]:
    """The texts of a Hugging Face dataset, a list of rows {column: text}, a mapping {column: texts}, or plain texts."""
    if isinstance(dataset, Mapping):
        dataset = dataset[column_name]
    return [row if isinstance(row, str) else row[column_name] for row in dataset]


def keep_single_column(dataset: Any, col_name: str) -> Any:
    """``dataset`` with one column: a Hugging Face dataset, or rows as dictionaries."""
    if isinstance(dataset, list):
        return [{col_name: row[col_name]} for row in dataset]
    return dataset.select_columns(col_name)


def tokenize_and_concatenate(
    dataset: Any,
    tokenizer: Any,
    streaming: bool = False,
    max_length: int = 1024,
    column_name: str = "text",
    add_bos_token: bool = True,
    num_proc: int = 10,
) -> TokenDataset:
    """All texts as one stream of tokens, an EOS between two, cut into rows of ``max_length``; what is left is dropped.

    With ``add_bos_token`` each row starts with BOS, which counts. ValueError if there is not one full row.
    ``streaming`` and ``num_proc`` change nothing.
    """
    eos, bos = tokenizer.eos_token_id, tokenizer.bos_token_id
    if eos is None or (add_bos_token and bos is None):
        raise ValueError("The tokenizer has no EOS, or no BOS; name them, or use add_bos_token=False.")
    ids: list[int] = []
    for number, text in enumerate(texts_of(dataset, column_name)):
        ids += ([eos] if number else []) + tokenizer.encode(text, add_special_tokens=False)
    width = max_length - add_bos_token
    n_rows = len(ids) // width
    if n_rows == 0:
        raise ValueError(f"The texts have {len(ids)} tokens; wanted at least one row of {width}. Lower max_length.")
    rows = torch.tensor(ids[: n_rows * width]).reshape(n_rows, width)
    start = torch.full((n_rows, 1 if add_bos_token else 0), bos if add_bos_token else 0)
    return TokenDataset(torch.cat([start, rows], dim=1))
