"""Reading a file of findings. Whoever wrote it may be a stranger."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from lens.findings.finding import (
    FORMAT,
    LARGEST,
    LONGEST,
    LONGEST_TITLE,
    LONGEST_VALUE,
    MOST,
    VERSION,
    Finding,
    Findings,
)
from lens.findings.safe import check_figure, clean
from lens.untrusted import half_character

Pages: TypeAlias = "Mapping[str, Collection[str]]"  # names of the pages there are, and of the fields of their addresses
MUST = ("page", "view", "claim")
SHAPE = (
    f'{{"format": "{FORMAT}", "version": {VERSION}, "title": …, "findings": [{{"page": …, "view": …, "claim": …}}]}}'
)


def read_findings(text: str, pages: Pages) -> Findings:
    """The findings of a file's text, in its order.

    ValueError says which finding is wrong, what it has, what it should have and what to do; then nothing is read.
    """
    data = _parsed(text)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"a file of findings is {SHAPE}; this one is another JSON. Choose a file that Findings wrote")
    version = data.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ValueError(
            f"this file of findings has version {version!r:.20}; this Lens reads version {VERSION}. Open it in the "
            "Lens that wrote it"
        )
    items, title = data.get("findings"), data.get("title", "")
    if not isinstance(items, list):
        raise ValueError(f'"findings" must be a list, not {items!r:.60}. A file is {SHAPE}')
    if len(items) > MOST:
        raise ValueError(f"a file has at most {MOST} findings; this one has {len(items)}. Divide it")
    if not isinstance(title, str) or len(title) > LONGEST_TITLE or half_character(title):
        raise ValueError(f'"title" must be text of at most {LONGEST_TITLE} characters, not {title!r:.60}')
    return Findings(title, tuple(_finding(number, item, pages) for number, item in enumerate(items, 1)))


def _parsed(text: str) -> Any:
    if len(text) > LARGEST:
        raise ValueError(f"a file of findings has at most {LARGEST:,} bytes; this one has {len(text):,}. Divide it")
    try:
        return json.loads(text, parse_constant=lambda name: None)  # JSON has no NaN
    except RecursionError:
        raise ValueError("this file is nested deeper than any file of findings") from None
    except ValueError as error:
        raise ValueError(f"a file of findings is JSON; this one is none: {error!s:.120}") from None


def _finding(number: int, item: Any, pages: Pages) -> Finding:
    try:
        if not isinstance(item, dict):
            raise ValueError(f"it must be an object with {', '.join(MUST)}, not {item!r:.60}")
        return _read(item, pages)
    except ValueError as error:
        claim = item.get("claim") if isinstance(item, dict) else None
        called = f" ({claim[:40]!r})" if isinstance(claim, str) and claim else ""
        raise ValueError(f"finding {number}{called}: {error}. Correct it in the file, or take it out") from None


def _read(item: dict[str, Any], pages: Pages) -> Finding:
    unknown = sorted(set(item) - set(Finding._fields))
    if unknown:
        raise ValueError(f"it has {unknown[0]!r:.40}; it may have {', '.join(Finding._fields)}")
    missing = [name for name in MUST if name not in item]
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    for name in set(item) - {"view", "figure"}:
        _check_text(name, item[name], LONGEST[name])
    if not item["claim"].strip():
        raise ValueError("its claim is empty")
    read = item | {"view": _view(item["page"], item["view"], pages)}
    if item.get("date"):
        _check_date(item["date"])
    if "figure" in item:
        read["figure"] = _figure(item["figure"])
    if "html" in item:
        read["html"] = clean(item["html"])
    return Finding(**read)


def _view(page: str, view: Any, pages: Pages) -> dict[str, str]:
    """What an address of a known page says; no value of it is read before the page is opened."""
    if page not in pages:
        raise ValueError(f"there is no page {page!r:.60}; pages are {', '.join(sorted(filter(None, pages)))}")
    if not isinstance(view, dict):
        raise ValueError(f"its view must be an object of names and texts, not {view!r:.60}")
    unknown = [name for name in view if name not in pages[page]]
    if unknown:
        known = ", ".join(sorted(pages[page]))
        raise ValueError(f"the address of page {page or 'home'!r} has no field {unknown[0]!r:.40}; it has {known}")
    for name, value in view.items():
        _check_text(name, value, LONGEST_VALUE)
    return dict(view)


def _check_text(name: str, value: Any, longest: int) -> None:
    if not isinstance(value, str):
        raise ValueError(f"its {name} must be text, not {value!r:.60}")
    if len(value) > longest:
        raise ValueError(f"its {name} has {len(value):,} characters; at most {longest:,} are read")
    if half_character(value):
        raise ValueError(f"its {name} holds half of a character")


def _check_date(date: str) -> None:
    try:
        datetime.strptime(date, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise ValueError(f"its date must be written 2026-11-28T09:00:00Z, not {date!r}") from None


def _figure(spec: Any) -> str:
    check_figure(spec)
    written = json.dumps(spec, separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    _check_text("figure", written, LONGEST["figure"])
    return written
