"""Text and tokens: which ids a text becomes, what stands before them, and which text ids become."""

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from lens.pieces import Pieces, visible
from lens.untrusted import half_character

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast


class BosPolicy(NamedTuple):
    """Which token is put before every text, and why."""

    id: int | None
    token: str
    prepend: bool
    reason: str


NO_BOS = BosPolicy(None, "", False, "this model's tokenizer names no token that begins a text")


class TokenBatch(NamedTuple):
    """Texts as rows of ids, with the places that hold real tokens."""

    tokens: "Tensor"  # Int [batch, pos]
    mask: "Tensor"  # Bool [batch, pos], False at padding

    @property
    def lengths(self) -> "Tensor":
        """Number of real tokens of each row, [batch]."""
        return self.mask.sum(-1)


def padded(rows: Sequence[Sequence[int]], pad: int, padding_side: str = "right") -> TokenBatch:
    """Rows of ids at one length, ``pad`` before ("left") or after ("right") the shorter ones."""
    import torch

    if padding_side not in ("left", "right"):
        raise ValueError(f"padding_side={padding_side!r}; it must be 'left' or 'right'.")
    if not rows:
        raise ValueError("No text was given; wanted at least one.")
    width, left = max(map(len, rows)), padding_side == "left"
    if min(map(len, rows)) == width:
        return TokenBatch(torch.tensor(rows), torch.ones(len(rows), width, dtype=torch.bool))
    tokens = torch.full((len(rows), width), pad)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        place = slice(width - len(row), None) if left else slice(len(row))
        tokens[i, place], mask[i, place] = torch.tensor(row), True
    return TokenBatch(tokens, mask)


class TextVerbs:
    """The verbs that turn text into tokens and back. Needs ``tokenizer``, ``bos``, ``name``, ``cfg`` and ``device``."""

    tokenizer: "PreTrainedTokenizerFast | None"
    bos: BosPolicy

    def needs_tokenizer(self) -> "PreTrainedTokenizerFast":
        """The tokenizer; ValueError if the model came without one."""
        if self.tokenizer is None:
            why = f" ({self.bos.reason})" if self.bos.id is None and self.bos != NO_BOS else ""
            raise ValueError(
                f"{self.name} has no tokenizer{why}, so it cannot read or write text. Give it token ids, "
                "or put the tokenizer's files (tokenizer.json) beside the weights."
            )
        return self.tokenizer

    def encoded(self, text: str, prepend_bos: bool | None = None) -> list[int]:
        """The ids of a whole text, BOS first under ``prepend_bos``; none for an empty text without BOS."""
        if half := half_character(text):
            raise ValueError(f"The text cannot be read: {half}. Take it out.")
        ids = self.needs_tokenizer().encode(text, add_special_tokens=False)
        prepend = self.bos.prepend if prepend_bos is None else prepend_bos
        if prepend and self.bos.id is None:
            raise ValueError(f"{self.name} has no token to prepend: {self.bos.reason}. Use prepend_bos=False.")
        return [self.bos.id, *ids] if prepend else ids

    def all_ids(self, text: str, prepend_bos: bool | None = None) -> list[int]:
        """The ids of a whole text, more than ``cfg.n_ctx`` if the text is long; ValueError if there is none."""
        ids = self.encoded(text, prepend_bos)
        if not ids:
            raise ValueError("The text is empty: without a token in front there is nothing to read. Type some text.")
        if max(ids) >= self.cfg.d_vocab:
            token = self.tokenizer.convert_ids_to_tokens(max(ids))
            raise ValueError(
                f"{token!r} has id {max(ids)} in the tokenizer; {self.name} has rows for 0 … {self.cfg.d_vocab - 1}, "
                "so it cannot read it. Take it out of the text."
            )
        return ids

    def two_bos(self, ids: Sequence[int]) -> str:
        """A sentence if a text begins with two BOS, one of them typed, which no model has seen; else nothing."""
        if self.bos.id is None or list(ids[:2]) != [self.bos.id] * 2:
            return ""
        return (
            f"{self.bos.token} stands twice at the beginning: once in the text and once because BOS is put in front. "
            "Take it out of the text, or switch BOS off."
        )

    def ids(self, text: str, prepend_bos: bool | None = None) -> list[int]:
        """The ids of a text that the model can read whole; ValueError if it cannot."""
        return self._fitted(self.all_ids(text, prepend_bos))

    def _fitted(self, ids: list[int]) -> list[int]:
        if len(ids) > self.cfg.n_ctx:
            raise ValueError(f"{len(ids)} tokens; {self.name} reads at most {self.cfg.n_ctx}. Shorten the text.")
        return ids

    def tokenize(
        self,
        texts: str | Sequence[str],
        prepend_bos: bool | None = None,
        padding_side: str = "right",
        longest: int | None = None,
    ) -> TokenBatch:
        """Ids of the texts, padded to one length, with the mask of real tokens.

        ``prepend_bos`` None means the model's own policy (``model.bos``). ``longest``: only so many first tokens of
        each text; without it a text that the model cannot read whole is a ValueError.
        """
        texts = [texts] if isinstance(texts, str) else texts
        if longest is None:
            rows = [self.ids(text, prepend_bos) for text in texts]
        else:
            rows = [self.all_ids(text, prepend_bos)[:longest] for text in texts]
        tokens, mask = padded(rows, self.pad_id, padding_side)
        return TokenBatch(tokens.to(self.device), mask.to(self.device))

    @property
    def pad_id(self) -> int:
        """The id written where a shorter text has no token, one that W_E has a row for: a pad token may have none.

        Its value is never read: the mask says where it stands.
        """
        tokenizer = self.needs_tokenizer()
        candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, self.bos.id, 0)
        return next(one for one in candidates if one is not None and one < self.cfg.d_vocab)

    def to_tokens(
        self,
        text: str | Sequence[str],
        prepend_bos: bool | None = None,
        padding_side: str = "right",
        longest: int | None = None,
    ) -> "Tensor":
        """Ids [batch, pos] of one text or several; :meth:`tokenize` gives the mask of real tokens as well."""
        return self.tokenize(text, prepend_bos, padding_side, longest).tokens

    def to_string(self, tokens: "Tensor | Sequence[int] | int") -> str | list[str]:
        """The text of one row of ids; a list of texts for several rows."""
        from lens.arrays import as_tensor  # torch: not for those who only read texts

        tokens = as_tensor(tokens)
        if tokens.ndim == 2:
            return [self.to_string(row) for row in tokens]
        return self.needs_tokenizer().decode(tokens.reshape(-1).tolist(), clean_up_tokenization_spaces=False)

    def continuation(self, prompt: Sequence[int], written: Sequence[int]) -> str:
        """The text of ``written`` as it follows ``prompt``.

        Both are decoded together and the prompt's text is cut off: a SentencePiece decoder takes the first space of
        what it is given away, and a character may have begun in the prompt.
        """
        before, whole = self.to_string(list(prompt)), self.to_string([*prompt, *written])
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, whole)))
        return whole[shared:]

    def to_str_tokens(
        self, text: "str | Sequence[str] | Tensor", prepend_bos: bool | None = None
    ) -> list[str] | list[list[str]]:
        """Each token of a text (or of a row of ids) as a string of its own; several texts or rows give lists.

        A token's string is its own piece (:class:`~lens.pieces.Pieces`), so joined they give the text back, after the
        space that a SentencePiece tokenizer puts in front. The bytes of a character that is cut are written ⟨e4-bd⟩.
        """
        if isinstance(text, str):
            ids = self._fitted(self.encoded(text, prepend_bos))
        elif isinstance(text, Sequence) and text and isinstance(text[0], str):
            return [self.to_str_tokens(one, prepend_bos) for one in text]
        else:
            from lens.arrays import as_tensor

            tokens = as_tensor(text)
            if tokens.ndim > 1 and tokens.shape[0] > 1:
                return [self.to_str_tokens(row) for row in tokens]
            ids = tokens.reshape(-1).tolist()
        return Pieces(self.needs_tokenizer()).strings(ids)

    def inner_ids(self, text: str) -> list[int]:
        """The ids of ``text`` as it is cut in the middle of a longer one, with no space but those it has itself.

        A SentencePiece tokenizer puts a space before what it is given, so alone "Mary" and " Mary" would be the same.
        """
        tokenizer = self.needs_tokenizer()
        ids, pieces = tokenizer.encode(text, add_special_tokens=False), Pieces(tokenizer)
        if not (tokenizer.is_fast and pieces.space) or b"".join(map(pieces.bytes_of, ids)) != f" {text}".encode():
            return ids
        return [token.id for token in tokenizer.backend_tokenizer.model.tokenize(text.replace(" ", pieces.space))]

    def to_single_token(self, text: str) -> int:
        """The id of a text that is exactly one token, in the middle of a text; ValueError, with its tokens, if not."""
        ids = self.inner_ids(text)
        if len(ids) != 1:
            pieces = " | ".join(map(visible, self.to_str_tokens(ids))) or "nothing"
            other = text[1:] if text.startswith(" ") else f" {text}"
            hint = f" {other!r} is one token." if len(self.inner_ids(other)) == 1 else ""
            raise ValueError(f"{text!r} is {len(ids)} tokens ({pieces}); wanted exactly one.{hint}")
        return ids[0]

    def to_single_str_token(self, token: int) -> str:
        """The string of one id."""
        return self.to_str_tokens([int(token)])[0]

    def get_token_position(
        self, single_token: str | int, text: "str | Tensor", mode: str = "first", prepend_bos: bool | None = None
    ) -> int:
        """Zero-based place of the first or last occurrence of a token; a text counts with its BOS if it gets one.

        ValueError if it does not occur.
        """
        if mode not in ("first", "last"):
            raise ValueError(f"mode={mode!r}; it must be 'first' or 'last'.")
        ids = self.ids(text, prepend_bos) if isinstance(text, str) else text.reshape(-1).tolist()
        meant = self._meant(single_token) if isinstance(single_token, str) else [int(single_token)]
        wanted = next((token for token in meant if token in ids), None)
        if wanted is None:
            raise ValueError(f"The token {single_token!r} does not occur in these {len(ids)} tokens.")
        return ids.index(wanted) if mode == "first" else len(ids) - 1 - ids[::-1].index(wanted)

    def _meant(self, text: str) -> list[int]:
        """The token that ``text`` is inside a text, then the one that it is where a text begins."""
        begins = self.needs_tokenizer().encode(text, add_special_tokens=False)
        if len(self.inner_ids(text)) != 1 and len(begins) == 1:
            return begins
        return [self.to_single_token(text), *(begins if len(begins) == 1 else [])]
