"""Text and tokens with the classic arguments: texts are cut at the context length, ``cfg`` says whether BOS is put."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.generate import Sampling, generate_tokens
from lens.tokens import TextVerbs, TokenBatch, padded


class ClassicText(TextVerbs):
    """Needs ``cfg.default_prepend_bos`` and ``default_padding_side``."""

    default_padding_side: str

    def all_ids(self, text: str, prepend_bos: bool | None) -> list[int]:
        return super().all_ids(text, self.cfg.default_prepend_bos if prepend_bos is None else prepend_bos)

    def _ids(self, text: str, prepend_bos: bool | None) -> list[int]:
        return self.all_ids(text, prepend_bos)[: self.cfg.n_ctx]

    def tokenize(
        self, texts: str | Sequence[str], prepend_bos: bool | None = None, padding_side: str | None = None
    ) -> TokenBatch:
        """Ids of the texts, cut at the context length and padded, with the mask of real tokens."""
        return super().tokenize(texts, prepend_bos, padding_side or self.default_padding_side)

    def to_tokens(
        self,
        input: str | Sequence[str],
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        move_to_device: bool = True,
        truncate: bool = True,
    ) -> Tensor:
        """Ids [batch, pos]; ``truncate=False`` keeps more than the model can read."""
        if truncate:
            tokens = self.tokenize(input, prepend_bos, padding_side).tokens
        else:
            rows = [self.all_ids(text, prepend_bos) for text in ([input] if isinstance(input, str) else input)]
            tokens = padded(rows, self.pad_id, padding_side or self.default_padding_side).tokens
        return tokens.to(self.device if move_to_device else "cpu")

    def to_str_tokens(
        self, input: str | list | np.ndarray | Tensor, prepend_bos: bool | None = None, padding_side: str | None = None
    ) -> list:
        """Each token as a string of its own; a list of texts or of rows gives a list of lists."""
        if isinstance(input, list) and input and not isinstance(input[0], int):
            return [self.to_str_tokens(one, prepend_bos, padding_side) for one in input]
        return super().to_str_tokens(input, prepend_bos)

    def to_string(self, tokens: Any) -> str | list[str]:
        """The text of one row of ids; a list of texts for several rows."""
        if isinstance(tokens, list) and tokens and isinstance(tokens[0], Tensor) and tokens[0].ndim > 0:
            return [self.to_string(row) for row in tokens]
        return super().to_string(tokens)

    def get_token_position(
        self,
        single_token: str | int,
        input: str | Tensor,
        mode: str = "first",
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
    ) -> int:
        """Zero-based place of the first or last occurrence of a token."""
        return super().get_token_position(single_token, input, mode, prepend_bos)

    def generate(
        self,
        input: str | Sequence[str] | Tensor = "",
        max_new_tokens: int = 10,
        stop_at_eos: bool = True,
        eos_token_id: int | None = None,
        do_sample: bool = True,
        top_k: int | None = None,
        top_p: float | None = None,
        temperature: float = 1.0,
        freq_penalty: float = 0.0,
        use_past_kv_cache: bool = True,
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        return_type: str | None = "input",
        verbose: bool = True,
        *,
        seed: int | None = None,
    ) -> str | list[str] | Tensor:
        """The input and what the model writes after it. ``return_type``: "input" (same form), "str", "tensor".

        Padding is always on the left here, and each token is read once; ``padding_side``, ``use_past_kv_cache`` and
        ``verbose`` change nothing.
        """
        if freq_penalty != 0:
            raise ValueError(f"generate: freq_penalty={freq_penalty}; Lens has no frequency penalty, only 0.")
        if isinstance(input, Tensor):
            tokens = (input if input.ndim == 2 else input[None]).to(self.device)
            mask = torch.ones_like(tokens, dtype=torch.bool)
        else:
            tokens, mask = self.tokenize(input, prepend_bos, "left")
        if eos_token_id is None and self.tokenizer is not None:
            eos_token_id = self.tokenizer.eos_token_id
        sampling = Sampling(temperature if do_sample else 0.0, top_k, top_p, seed)
        stop = eos_token_id if stop_at_eos else None
        out = generate_tokens(self, tokens, mask, max_new_tokens, sampling, stop)
        return self._as_asked(input, out, tokens.shape[1], return_type)

    def _as_asked(self, input: Any, out: Tensor, n_prompt: int, return_type: str | None) -> str | list[str] | Tensor:
        forms = {"input": isinstance(input, Tensor), "tensor": True, "tokens": True, "str": False}
        if return_type not in forms:
            raise ValueError(f"generate: return_type={return_type!r}; it must be one of {', '.join(forms)}.")
        if forms[return_type]:
            return out
        if isinstance(input, Tensor):
            texts = self.to_string(out)
            return texts[0] if input.ndim == 1 or len(texts) == 1 else texts
        prompts = [input] if isinstance(input, str) else input
        written = [text + self.to_string(row[n_prompt:]) for text, row in zip(prompts, out, strict=True)]
        return written[0] if isinstance(input, str) else written
