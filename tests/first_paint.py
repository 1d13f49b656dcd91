"""The first figures that are shipped: draws them anew and keeps them, ``python -m tests.first_paint``.

One for each page as it opens, and for each slide of the shipped talks, where that is a chart.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from streamlit.testing.v1 import AppTest

from lens.decks import SHIPPED, read_deck
from lens.ui.badge import RUN
from lens.ui.calls import result_store
from lens.ui.fields import DEFAULT_MODEL
from lens.ui.first_paint import FOLDER, Painted, file_of, keep
from lens.ui.menu import MENU
from lens.ui.page import Page

ROOT = Path(__file__).parents[1]


class Address(NamedTuple):
    """One view whose first figure is shipped."""

    page: Page
    query: dict[str, str]  # without what is a default

    def __str__(self) -> str:
        return f"{self.page.name}?{'&'.join(f'{name}={text}' for name, text in self.query.items())}"


def addresses() -> Iterator[Address]:
    """Home has none: what it says of itself comes first there."""
    pages = {page.path: page for page in MENU if page.path}
    for page in pages.values():
        yield Address(page, {})
    for deck in sorted(SHIPPED.glob("*.json")):
        for slide in read_deck(deck.read_text(encoding="utf-8"), pages).slides:
            said = slide.query.items()
            yield Address(pages[slide.page], {name: text for name, text in said if text != DEFAULT_MODEL})


def painted_now(address: Address) -> Painted | None:
    """What the page draws first where nothing was computed before; None where that is no chart, or nothing is said."""
    result_store.clear()
    at = AppTest.from_file(str(ROOT / "app.py"), default_timeout=300)
    at.switch_page(address.page.file)
    at.query_params.update(address.query)
    at.run()
    charts, notice = at.get("plotly_chart"), at.session_state[RUN].get("notice", "")
    if at.exception or at.error or not charts or not notice:
        return None
    return Painted(json.loads(charts[0].proto.spec), charts[0].proto.alt, notice)


def main() -> None:
    """Keep all of them, and nothing else."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json.gz"):
        old.unlink()
    for address in addresses():
        painted = painted_now(address)
        if painted is not None:
            file = file_of(address.page, address.query)
            keep(painted, file)
            sys.stdout.write(f"{address} {file.name} {file.stat().st_size:,} bytes\n")
        else:
            sys.stdout.write(f"{address} opens without a chart\n")


if __name__ == "__main__":
    main()
