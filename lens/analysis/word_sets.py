"""Sets of words that are single tokens: names, and what has an order."""

from collections.abc import Mapping
from string import ascii_lowercase, ascii_uppercase
from typing import TYPE_CHECKING, NamedTuple

from lens.analysis.interventions.tasks.words import HER, HIM

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer

_FIRST_HALF = ("January", "February", "March", "April", "May", "June")
ORDINALS: Mapping[str, tuple[tuple[str, ...], ...]] = {  # spellings of each set
    "digits": (tuple("0123456789"),),
    "number words": (
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    ),
    "days": (("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),),
    "months": ((*_FIRST_HALF, "July", "August", "September", "October", "November", "December"),),
    "letters": (tuple(ascii_uppercase), tuple(ascii_lowercase)),
}


class OrdinalSet(NamedTuple):
    """The single tokens of one set, in their order. ``pairs``: places in ``ids`` of a token and of the one after it."""

    name: str
    ids: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]


def ordinal_sets(model: "HookedTransformer") -> tuple[OrdinalSet, ...]:
    """The sets of which a tokenizer has a token and its successor, each in the spelling that it has most of.

    With a space in front where as many of those are single tokens: in a sentence most words have one.
    """
    found = []
    for name, spellings in ORDINALS.items():
        ways = [[f"{space}{word}" for word in words] for words in spellings for space in (" ", "")]
        made = [_set_of(model, name, words) for words in ways] if model.tokenizer is not None else []
        best = max(made, key=lambda one: len(one.pairs), default=None)
        if best is not None and best.pairs:
            found.append(best)
    return tuple(found)


def _set_of(model: "HookedTransformer", name: str, words: list[str]) -> OrdinalSet:
    ids = [single_token(model, word) for word in words]
    places = {at: place for place, at in enumerate(at for at, one in enumerate(ids) if one is not None)}
    pairs = tuple((places[at], places[at + 1]) for at in range(len(ids)) if at in places and at + 1 in places)
    return OrdinalSet(name, tuple(one for one in ids if one is not None), pairs)


def single_names(model: "HookedTransformer", most: int = 48) -> tuple[int, ...]:
    """Common first names that are one token, women's and men's by turns; with a space in front where as many are."""
    if model.tokenizer is None:
        return ()
    names = [name for both in zip(HER, HIM) for name in both]
    made = [[single_token(model, f"{space}{name}") for name in names] for space in (" ", "")]
    return max((tuple(one for one in ids if one is not None) for ids in made), key=len)[:most]


def single_token(model: "HookedTransformer", word: str) -> int | None:
    """The id of a word that is one token, which reads as the word; None if it is not."""
    ids = model.inner_ids(word)
    return int(ids[0]) if len(ids) == 1 and model.to_string([int(ids[0])]).strip() == word.strip() else None
