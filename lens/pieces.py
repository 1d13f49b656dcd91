"""What a token stands for: its own piece or bytes, as text, as a label, and as part of a character."""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VISIBLE = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"}


def visible(token: str) -> str:
    """``token`` as a label: spaces, line ends and tabs have a sign, control characters and broken bytes their code.

    Bytes that are known but no character come as "surrogateescape" makes them, or written out already, as
    :func:`readable` does; U+FFFD says that a byte is not known.
    """

    def sign(char: str) -> str:
        if char in VISIBLE:
            return VISIBLE[char]
        unprintable = char == "\ufffd" or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        return f"⟨{ord(char):02x}⟩" if unprintable else char

    return "".join(map(sign, _parts_written_out(token))) or "⟨empty⟩"


# What "surrogateescape" makes of bytes that are no whole character: the end of one that began before, or the beginning
# of one that goes on behind. A lead byte begins a group, so that no group holds parts of two characters.
PART = re.compile("[\udc80-\udcbf]+|[\udcc0-\udcff][\udc80-\udcbf]*")


def _parts_written_out(text: str) -> str:
    return PART.sub(lambda part: f"⟨{'-'.join(f'{ord(byte) - 0xDC00:02x}' for byte in part[0])}⟩", text)


def readable(raw: bytes) -> str:
    """``raw`` as text that can be printed everywhere; the bytes of a character that is cut are written ⟨e4-bd⟩."""
    return _parts_written_out(raw.decode("utf-8", "surrogateescape"))


@cache
def _byte_of() -> dict[str, int]:
    """The 256 characters that stand for bytes in a byte-level vocabulary (GPT-2's alphabet)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(moved)}


SENTENCEPIECE = ({"type": "Metaspace", "replacement": "▁"}, {"type": "ByteFallback"})


class Pieces:
    """What each token of a vocabulary stands for, from its own piece and the rules of the tokenizer's decoder.

    Not from decoding one id: that takes the first space of a SentencePiece token away and turns a part of a character
    into U+FFFD. A token that stands for a word and the space before it has that space, wherever it stands.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        self.tokenizer, self.added = tokenizer, set(tokenizer.added_tokens_decoder)
        self.steps = _decoder_steps(tokenizer.backend_tokenizer.decoder) if tokenizer.is_fast else SENTENCEPIECE
        self.byte_level = any(step["type"] == "ByteLevel" for step in self.steps)
        self.space = next((sign for sign in map(_sign_of_space, self.steps) if sign), "")

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes that a token stands for, perhaps part of a character; a special token gives its name.

        KeyError for an id outside the vocabulary.
        """
        piece = self.tokenizer.convert_ids_to_tokens(token_id)
        if piece is None:
            raise KeyError(f"No token has id {token_id}; this tokenizer has {len(self.tokenizer)} tokens.")
        if token_id in self.added:
            return piece.encode()
        if self.byte_level:
            known = _byte_of()
            return bytes(known[char] for char in piece) if all(char in known for char in piece) else piece.encode()
        for step in self.steps:
            if step["type"] == "ByteFallback" and BYTE.fullmatch(piece):
                return bytes([int(piece[3:5], 16)])
            piece = _undone(step, piece)
        return piece.encode()

    def strings(self, ids: Iterable[int]) -> list[str]:
        """Each token as text of its own (:func:`readable`); an id that no token has says so."""
        return [f"⟨id {i}⟩" if self.tokenizer.convert_ids_to_tokens(i) is None else self.string(i) for i in ids]

    def string(self, token_id: int) -> str:
        """One token as text of its own."""
        return readable(self.bytes_of(token_id))


BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")  # a byte in the vocabularies that fall back to bytes


class CutCharacter(NamedTuple):
    """A character whose bytes are spread over the tokens ``first`` to ``last``; ``bytes`` in hexadecimal, by token."""

    text: str
    first: int
    last: int
    bytes: tuple[str, ...]


def cut_characters(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> list[CutCharacter]:
    """The characters that lie in several tokens of a row, in their order."""
    pieces, known = Pieces(tokenizer), len(tokenizer)
    parts = [pieces.bytes_of(i) if i < known else b"" for i in ids]
    places, raw, found = [t for t, part in enumerate(parts) for _ in part], b"".join(parts), []
    start = 0
    for char in raw.decode("utf-8", "surrogateescape"):
        end = start + len(char.encode("utf-8", "surrogateescape"))
        first, last = places[start], places[end - 1]
        if first != last:
            split = (bytes(raw[i] for i in range(start, end) if places[i] == t) for t in range(first, last + 1))
            found.append(CutCharacter(char, first, last, tuple(part.hex(" ") for part in split)))
        start = end
    return found


def say_cut(cut: Sequence[CutCharacter], most: int = 3) -> str:
    """A sentence about characters that are cut into bytes, the first of them one by one; "" if there are none."""
    if not cut:
        return ""
    told = "; ".join(
        f"{visible(one.text)} is {' '.join(f'⟨{part}⟩' for part in one.bytes)}, tokens {one.first} to {one.last}"
        for one in cut[:most]
    )
    more = f"; and {len(cut) - most} more" if len(cut) > most else ""
    return f"Characters that the vocabulary does not hold whole are cut into bytes: {told}{more}."


def _decoder_steps(decoder: Any) -> list[dict[str, Any]]:
    """The rules of a decoder of the tokenizers library, in their order. Without one, tokens are words."""
    if decoder is None:
        return [{"type": "WordPiece", "prefix": ""}]
    rules = json.loads(decoder.__getstate__())
    return rules["decoders"] if rules["type"] == "Sequence" else [rules]


def _undone(step: dict[str, Any], piece: str) -> str:
    """``piece`` after one rule of a decoder. Rules about a whole text (Fuse, Strip) leave a piece as it is."""
    match step:
        case {"type": "Metaspace", "replacement": sign}:
            return piece.replace(sign, " ")
        case {"type": "Replace", "pattern": {"String": pattern}, "content": content}:
            return piece.replace(pattern, content)
        case {"type": "WordPiece", "prefix": prefix}:
            return piece.removeprefix(prefix) if prefix and piece.startswith(prefix) else f" {piece}"
        case {"type": "BPEDecoder", "suffix": suffix}:
            return piece.replace(suffix, " ")
    return piece


def _sign_of_space(step: dict[str, Any]) -> str:
    """What stands for a space in the pieces that this rule is about; "" for a rule about something else."""
    match step:
        case {"type": "Metaspace", "replacement": sign} | {"pattern": {"String": sign}, "content": " "}:
            return sign
    return ""


def token_bytes(tokenizer: "PreTrainedTokenizerBase", token_id: int) -> bytes:
    """The bytes that one token stands for; see :class:`Pieces`, which is for many."""
    return Pieces(tokenizer).bytes_of(token_id)
