"""Text and tokens with the classic arguments: texts are cut at the context length, ``cfg`` says whether BOS is put."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from lens.generate import Sampling, generate_tokens, until_end
from lens.tokens import TextVerbs, TokenBatch, padded


class ClassicText(TextVerbs):
    """Needs ``cfg.default_prepend_bos`` and ``default_padding_side``."""

    default_padding_side: str

    def encoded(self, text: str, prepend_bos: bool | None = None) -> list[int]:
        """The ids of a whole text; two BOS at its beginning are said."""
        ids = super().encoded(text, self.cfg.default_prepend_bos if prepend_bos is None else prepend_bos)
        if notice := self.two_bos(ids):
            print(notice)  # noqa: T201
        return ids

    def _fitted(self, ids: list[int]) -> list[int]:
        return ids[: self.cfg.n_ctx]

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
        eos_token_id: int | Sequence[int] | None = None,
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
        attention_mask: Tensor | None = None,
    ) -> str | list[str] | Tensor:
        """The input and what the model writes after it. ``return_type``: "input" (same form), "str", "tensor".

        ``attention_mask``: True at the real tokens of ids, which may be padded on either side. What comes back is
        padded on the left always; ``padding_side`` and ``verbose`` change nothing. With ``use_past_kv_cache`` a hook
        sees only the new position of each step, so one at ``[:, -1]`` writes another text with than without it; see
        :func:`lens.generate.generate_tokens`. ``eos_token_id``: None means all end tokens of the model.
        """
        if freq_penalty != 0:
            raise ValueError(f"generate: freq_penalty={freq_penalty}; Lens has no frequency penalty, only 0.")
        prompts = self._prompts(input, prepend_bos, attention_mask)
        given = [eos_token_id] if isinstance(eos_token_id, int) else eos_token_id
        ends = () if not stop_at_eos else self.stop_ids if given is None else tuple(given)
        sampling = Sampling(temperature if do_sample else 0.0, top_k, top_p, seed)
        out = generate_tokens(self, prompts, max_new_tokens, sampling, ends, use_past_kv_cache=use_past_kv_cache)
        return self._as_asked(input, prompts, out, ends, return_type)

    def _as_asked(
        self, input: Any, prompts: TokenBatch, out: Tensor, ends: Sequence[int], return_type: str | None
    ) -> str | list[str] | Tensor:
        forms = {"input": isinstance(input, Tensor), "tensor": True, "tokens": True, "str": False}
        if return_type not in forms:
            raise ValueError(f"generate: return_type={return_type!r}; it must be one of {', '.join(forms)}.")
        if forms[return_type]:
            return out
        if isinstance(input, Tensor):
            n = prompts.tokens.shape[1]
            starts = (n - prompts.lengths).tolist()
            rows = [row[start:n] + until_end(row[n:], ends) for start, row in zip(starts, out.tolist(), strict=True)]
            texts = [self.to_string(row) for row in rows]
            return texts[0] if input.ndim == 1 or len(texts) == 1 else texts
        return self._written(input, prompts, out, ends)
