"""What a Lens address can say: one declarative table of fields, each with a default, a reader and a writer.

Pure text <-> values, no Streamlit. Values in an address come from strangers: every reader checks its value and answers
a bad one with a sentence for the page, never with a traceback.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from lens.analysis.names import Head
from lens.given import LOCAL
from lens.ui.limits import Limits
from lens.ui.shared.tour.steps import NAMES as TOUR
from lens.untrusted import half_character, whole_characters

DEFAULT_MODEL = "lens-2l"  # comes with Lens, opens in a moment, and its whole training is here
DEFAULT_PROMPT = "The cat sat on the mat. The cat sat on the"  # the second half repeats: induction heads show at once
IN_A_WORKSHOP = 24  # pages, and models
_MODEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,95})?")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,79}")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,47}")


class BadValue(ValueError):
    """A value that an address may not have. ``use`` is shown instead; None means the field's default."""

    def __init__(self, sentence: str, use: Any = None) -> None:
        super().__init__(sentence)
        self.use = use


class Field(NamedTuple):
    """One name of the address. ``read(write(value)) == value`` for every value the field can hold."""

    name: str
    default: Any
    read: Callable[[str], Any]  # raises BadValue
    write: Callable[[Any], str]
    unset: Any = None  # what a page reads while the value is None: nothing was chosen
    joint: bool = False  # an option with one value for all pages that declare it
    lasting: bool = False  # stays where a link inside the app does not name it


def integer(name: str, default: int | None, low: int = 0, high: int = 2**31 - 1) -> Field:
    """A whole number within ``low..high``; a default of None means "not set"."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,12}", text):
            raise BadValue(f"{name} must be a whole number, not {short(text)}")
        if not low <= int(text) <= high:
            raise BadValue(f"{name} {int(text)} is outside {low} to {high}")
        return int(text)

    return Field(name, default, read, lambda value: str(int(value)))


def number(name: str, default: float, low: float, high: float) -> Field:
    """A number within ``low..high``, written so that it reads back exactly."""

    def read(text: str) -> float:
        if not re.fullmatch(r"-?\d{1,18}(\.\d{1,20})?(e[+-]?\d{1,3})?", text):
            raise BadValue(f"{name} must be a number, not {short(text)}")
        if not low <= float(text) <= high:
            raise BadValue(f"{name} {text} is outside {low:g} to {high:g}")
        return float(text)

    return Field(name, default, read, lambda value: repr(float(value)))


def choice(name: str, default: str, options: Sequence[str]) -> Field:
    """One of a fixed list of words."""

    def read(text: str) -> str:
        if text not in options:
            raise BadValue(f"{name} must be one of {', '.join(options)}, not {short(text)}")
        return text

    return Field(name, default, read, str)


def word(name: str, default: str) -> Field:
    """A short identifier whose choices only the page knows (``ViewState.one_of`` checks it there)."""
    return _matching(name, default, _WORD, "a short name")


def flag(name: str, default: bool) -> Field:
    """Yes or no, written ``on`` and ``off``."""

    def read(text: str) -> bool:
        if text not in ("on", "off"):
            raise BadValue(f"{name} must be on or off, not {short(text)}")
        return text == "on"

    return Field(name, default, read, lambda value: "on" if value else "off")


def mark(name: str) -> Field:
    """No, unless the address says ``name=1``."""

    def read(text: str) -> bool:
        if text not in ("1", "0"):
            raise BadValue(f"{name} must be 1 or nothing, not {short(text)}")
        return text == "1"

    return Field(name, False, read, lambda value: "1" if value else "0")


def text(name: str, default: str, longest: int, called: str = "") -> Field:
    """Free text; what is longer than ``longest`` characters is cut and said so, of the text as it is ``called``."""

    def read(value: str) -> str:
        if half := half_character(value):
            raise BadValue(f"{half} in {called or name}: it stands as \ufffd", use=whole_characters(value)[:longest])
        if len(value) > longest:
            kept = f"only the first {longest:,} of {len(value):,} characters"
            raise BadValue(f"{kept} of {called or name} are kept", use=value[:longest])
        return value

    return Field(name, default, read, str)


def heads(name: str, most: int) -> Field:
    """A list of attention heads, ``18.6,17.3`` = layer 18 head 6 and layer 17 head 3; order kept, no repeats."""

    def read(value: str) -> tuple[Head, ...]:
        words = [part for part in value.split(",") if part.strip()][: most + 1]
        bad = [part for part in words if not re.fullmatch(r"\s*\d{1,4}\.\d{1,4}\s*", part)]
        heads = tuple(dict.fromkeys(Head(*map(int, part.split("."))) for part in words if part not in bad))
        if bad:
            raise BadValue(
                f"{name} are written like 18.6,17.3; left out {', '.join(map(short, bad))}", use=heads[:most]
            )
        if len(heads) > most:
            raise BadValue(f"at most {most} {name} are kept", use=heads[:most])
        return heads

    return Field(name, (), read, lambda value: ",".join(f"{layer}.{head}" for layer, head in value))


def several(name: str, pattern: re.Pattern[str], what: str, most: int) -> Field:
    """A list of names with spaces between them, in the order they are given, none twice; ``what`` they name."""

    def read(value: str) -> tuple[str, ...]:
        words = list(dict.fromkeys(value.replace(",", " ").split()))
        bad = [part for part in words[: most + 1] if not pattern.fullmatch(part) or ".." in part]
        names = tuple(part for part in words if part not in bad)[:most]
        if bad:
            raise BadValue(
                f"{name} names {what}, with spaces between them; left out {', '.join(map(short, bad))}", names
            )
        if len(words) > most:
            raise BadValue(f"at most {most} {what} of {name} are kept", names)
        return names

    return Field(name, (), read, " ".join)


def _matching(name: str, default: str, pattern: re.Pattern[str], what: str) -> Field:
    def read(value: str) -> str:
        if value and (not pattern.fullmatch(value) or ".." in value):
            raise BadValue(f"{name} must be {what}, not {short(value)}")
        return value

    return Field(name, default, read, str)


def _model() -> Field:
    def read(value: str) -> str:
        if value.removeprefix(LOCAL).lower().endswith((".gguf", ".safetensors", ".bin", ".pth")) and LOCAL not in value:
            raise BadValue(f"an address cannot open a file on this machine ({short(value)})")
        if not _MODEL.fullmatch(value.removeprefix(LOCAL)) or ".." in value:
            raise BadValue(f"an address names a model by its alias or Hub id, never by a path ({short(value)})")
        return value

    return Field("model", DEFAULT_MODEL, read, str)


def _with_model() -> Field:
    """A second model beside the first, ``lens-3l`` or ``lens-2l@revision``; "" is none."""

    def read(value: str) -> str:
        name, at, revision = value.partition("@")
        if value:
            _model().read(name)
        if at and (not _REVISION.fullmatch(revision) or ".." in revision):
            raise BadValue(f"after the @ of a model stands a branch, tag or checkpoint name, not {short(revision)}")
        return value

    return Field("with_model", "", read, str)


def common_fields(bounds: Limits) -> tuple[Field, ...]:
    """The fields that every page shares, in the order they stand in an address."""
    return (
        _model(),
        _matching("revision", "", _REVISION, "a branch, tag or checkpoint name"),
        text("prompt", DEFAULT_PROMPT, bounds.prompt_chars, called="the prompt"),
        choice("bos", "auto", ("auto", "on", "off")),
        integer("layer", None, high=9999)._replace(unset=0),
        integer("head", None, high=9999)._replace(unset=0),
        heads("pins", bounds.pins),
        integer("query", None, high=bounds.prompt_tokens),
        word("score", "induction"),
        integer("n", 25, low=2, high=bounds.block_length),
        integer("seqs", 16, low=1, high=bounds.sequences),
        integer("seed", 0),
        mark("stage"),
        _with_model(),
        text("with_prompt", "", bounds.prompt_chars, called="the prompt to compare with"),
        _matching("tour", "", re.compile("|".join(map(re.escape, TOUR))), f"one of its steps, like {TOUR[0]}"),
        several("workshop_pages", _WORD, "pages", IN_A_WORKSHOP)._replace(lasting=True),
        several("workshop_models", _MODEL, "models", IN_A_WORKSHOP)._replace(lasting=True),
    )


def parse(fields: Iterable[Field], query: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Values for all ``fields`` and one sentence for every value of ``query`` that could not be used.

    Names the table does not know are ignored, so that an address with a foreign parameter still opens.
    """
    values, notes = {}, []
    for field in fields:
        values[field.name] = field.default
        if field.name not in query:
            continue
        try:
            values[field.name] = field.read(query[field.name])
        except BadValue as bad:
            values[field.name] = field.default if bad.use is None else bad.use
            notes.append(str(bad) if bad.use is not None else f"{bad}: {showing(field)}")
    return values, notes


def showing(field: Field) -> str:
    """The half sentence that says what is shown instead of a refused value."""
    default = field.unset if field.default is None else field.default
    if default in (None, "", ()):
        return "it is left out"
    return f"showing {field.name} {short(field.write(default))}"


def write(fields: Iterable[Field], values: Mapping[str, Any]) -> dict[str, str]:
    """The query of an address: every value that is not its field's default, in table order."""
    return {f.name: f.write(values[f.name]) for f in fields if values[f.name] != f.default}


def address(base: str, path: str, query: Mapping[str, str]) -> str:
    """The complete address of a page. ``base`` is the app's root, ``path`` is "" for Home."""
    encoded = urlencode(query)
    return base.rstrip("/") + "/" + path + ("?" + encoded if encoded else "")


def checkpoint_name(revision: str) -> str:
    """A revision as people call it: the file of a shipped checkpoint by its name, "tokens_000001433600"."""
    return revision.removesuffix(".safetensors").rpartition("checkpoints/")[-1]


def short(value: str) -> str:
    """A foreign value quoted inside a sentence: at most 40 characters."""
    return repr(value if len(value) <= 40 else value[:39] + "…")
