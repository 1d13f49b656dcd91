"""JSON, text and files from strangers: read as data, or refused in a sentence."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HALF = re.compile("[\ud800-\udfff]")  # half of a surrogate pair: no character, and nothing that can be written or sent


class NotJson(ValueError):
    """What was given is no JSON that can be read; the message says why."""


def parse_json(text: str) -> Any:
    """The value in a JSON text. NotJson for anything else, also where it nests too deeply or holds half characters."""
    try:
        value = json.loads(text)
        if "\\u" in text or HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at character {error.pos + 1}") from None
    except UnicodeEncodeError:
        raise NotJson("a text in it holds half of a character, a lone surrogate") from None
    except RecursionError:
        raise NotJson("it nests too deeply") from None
    except ValueError as error:  # of a number with thousands of digits
        raise NotJson(str(error).split(";")[0].lower()) from None
    return value


def half_character(text: str) -> str:
    """Where a text holds half of a character, as a sentence without its end; "" where it holds none."""
    found = HALF.search(text)
    if found is None:
        return ""
    return f"character {found.start() + 1} is half of one (U+{ord(found[0]):04X}, a lone surrogate)"


def whole_characters(text: str) -> str:
    """The text with U+FFFD for halves of characters."""
    return HALF.sub("\ufffd", text)


@contextmanager
def damage(what: str, means: str) -> Iterator[None]:
    """ValueError, "``what`` (reason). ``means``", for whatever a foreign reader makes of a damaged file in this block.

    Such readers raise what their code happens to run into, and those written in Rust panic, which is no Exception.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{what} ({lines[0]}). {means}") from error
