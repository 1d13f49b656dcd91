"""Text and tokens: which ids a text becomes, what stands before them, and how a token is shown."""

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

VISIBLE = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"}


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


def visible(token: str) -> str:
    """``token`` as a label: spaces, line ends and tabs have a sign, control characters and broken bytes their code.

    A byte that is known but no character comes as "surrogateescape" makes it; U+FFFD says that it is not known.
    """

    def sign(char: str) -> str:
        if char in VISIBLE:
            return VISIBLE[char]
        if "\udc80" <= char <= "\udcff":
            return f"⟨{ord(char) - 0xDC00:02x}⟩"
        unprintable = char == "\ufffd" or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        return f"⟨{ord(char):02x}⟩" if unprintable else char

    return "".join(map(sign, token)) or "⟨empty⟩"


@cache
def _byte_of() -> dict[str, int]:
    """The 256 characters that stand for bytes in a byte-level vocabulary (GPT-2's alphabet)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(moved)}


def token_bytes(tokenizer: "PreTrainedTokenizerFast", token_id: int) -> bytes:
    """The bytes that a token stands for; a token may hold part of a character. A special token gives its name.

    KeyError for an id outside the vocabulary.
    """
    piece = tokenizer.convert_ids_to_tokens(token_id)
    if piece is None:
        raise KeyError(f"No token has id {token_id}; this tokenizer has {len(tokenizer)} tokens.")
    if token_id in tokenizer.added_tokens_decoder:
        return piece.encode()
    if "ByteLevel" in type(tokenizer.backend_tokenizer.decoder).__name__:
        return bytes(_byte_of()[char] for char in piece)
    if len(piece) == 6 and piece.startswith("<0x"):  # byte fallback of SentencePiece vocabularies
        return bytes([int(piece[3:5], 16)])
    return piece.replace("▁", " ").encode()


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

    def all_ids(self, text: str, prepend_bos: bool | None = None) -> list[int]:
        """The ids of a whole text, BOS first under ``prepend_bos``; more than ``cfg.n_ctx`` if the text is long."""
        ids = self.needs_tokenizer().encode(text, add_special_tokens=False)
        prepend = self.bos.prepend if prepend_bos is None else prepend_bos
        if prepend and self.bos.id is None:
            raise ValueError(f"{self.name} has no token to prepend: {self.bos.reason}. Use prepend_bos=False.")
        ids = [self.bos.id, *ids] if prepend else ids
        if not ids:
            raise ValueError("The text is empty: without a token in front there is nothing to read. Type some text.")
        return ids

    def _ids(self, text: str, prepend_bos: bool | None) -> list[int]:
        ids = self.all_ids(text, prepend_bos)
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
            rows = [self._ids(text, prepend_bos) for text in texts]
        else:
            rows = [self.all_ids(text, prepend_bos)[:longest] for text in texts]
        tokens, mask = padded(rows, self.pad_id, padding_side)
        return TokenBatch(tokens.to(self.device), mask.to(self.device))

    @property
    def pad_id(self) -> int:
        """The id written where a shorter text has no token. Its value is never read: the mask says where it stands."""
        tokenizer = self.needs_tokenizer()
        candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, self.bos.id, 0)
        return next(candidate for candidate in candidates if candidate is not None)

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
        import torch

        tokens = torch.as_tensor(tokens)
        if tokens.ndim == 2:
            return [self.to_string(row) for row in tokens]
        return self.needs_tokenizer().decode(tokens.reshape(-1).tolist(), clean_up_tokenization_spaces=False)

    def to_str_tokens(
        self, text: "str | Sequence[str] | Tensor", prepend_bos: bool | None = None
    ) -> list[str] | list[list[str]]:
        """Each token of a text (or of a row of ids) as a string of its own; several texts or rows give lists."""
        if isinstance(text, str):
            ids = self._ids(text, prepend_bos)
        elif isinstance(text, Sequence) and text and isinstance(text[0], str):
            return [self.to_str_tokens(one, prepend_bos) for one in text]
        else:
            import torch

            tokens = torch.as_tensor(text)
            if tokens.ndim > 1 and tokens.shape[0] > 1:
                return [self.to_str_tokens(row) for row in tokens]
            ids = tokens.reshape(-1).tolist()
        return self.needs_tokenizer().batch_decode([[i] for i in ids], clean_up_tokenization_spaces=False)

    def to_single_token(self, text: str) -> int:
        """The id of a text that is exactly one token; ValueError, with its tokens, if it is not."""
        ids = self.needs_tokenizer().encode(text, add_special_tokens=False)
        if len(ids) != 1:
            pieces = " | ".join(map(visible, self.to_str_tokens(text, prepend_bos=False))) if ids else "nothing"
            other = text[1:] if text.startswith(" ") else f" {text}"
            alone = len(self.tokenizer.encode(other, add_special_tokens=False)) == 1
            hint = f" {other!r} is one token." if alone else ""
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
        wanted = self.to_single_token(single_token) if isinstance(single_token, str) else int(single_token)
        ids = self._ids(text, prepend_bos) if isinstance(text, str) else text.reshape(-1).tolist()
        if wanted not in ids:
            raise ValueError(f"The token {single_token!r} does not occur in these {len(ids)} tokens.")
        return ids.index(wanted) if mode == "first" else len(ids) - 1 - ids[::-1].index(wanted)
