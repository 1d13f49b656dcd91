"""``lens deck check FILE``: every slide of a talk drawn once, without a network, before anyone sits in the room."""

from __future__ import annotations

import argparse
import html
import json
import logging
import os
import re
import sys
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from lens.decks import Deck, Slide, read_deck, shipped
from lens.figures.contrast import ENOUGH, Contrast, least_contrast
from lens.launch import app_script
from lens.ui.menu import MENU

DESCRIPTION = (
    "Draw every slide of a deck as on stage, offline: how long it takes, what is missing, and how well the text of its "
    "figures stands out from the page, light and dark."
)
PATIENCE = 300  # seconds for one slide


class Checked(NamedTuple):
    """One slide, drawn once."""

    slide: Slide
    seconds: float
    problems: tuple[str, ...]  # errors, notes about values that could not be shown, a model that is not here
    contrast: Contrast | None  # of the text that stands out least; None without a chart


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each slide; 0 if all can be shown, 1 if not, 2 for a file that is no deck."""
    parser = argparse.ArgumentParser(prog="lens deck", description=DESCRIPTION)
    parser.add_argument("do", choices=["check"])
    parser.add_argument("deck", help=f"a JSON file, or a deck that comes with Lens: {', '.join(shipped())}")
    chosen = parser.parse_args(arguments)
    path = shipped().get(chosen.deck, Path(chosen.deck))
    try:
        deck = read_deck(path.read_text(encoding="utf-8"), {page.path for page in MENU} - {"deck"})
    except (OSError, ValueError) as error:
        parser.error(f"{chosen.deck}: {error}")
    os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of the Hub is imported
    logging.getLogger("streamlit.runtime.scriptrunner_utils.script_run_context").setLevel(logging.ERROR)
    checked = [report(number, check(slide)) for number, slide in enumerate(deck.slides, 1)]
    return _end(deck, checked)


def check(slide: Slide) -> Checked:
    """One slide as on stage."""
    from streamlit.testing.v1 import AppTest

    app = app_script()
    script = app.parent / "pages" / f"{slide.page}.py" if slide.page else app
    at = AppTest.from_file(str(script), default_timeout=PATIENCE)
    for name, text in {**slide.query, "stage": "1"}.items():
        at.query_params[name] = text
    start = perf_counter()
    at.run()
    seconds = perf_counter() - start
    drawn = [element.proto.body for element in at.get("html")]
    problems = [error.value for error in (*at.exception, *at.error)]
    for text in drawn:
        if 'class="lens-notes"' in text:
            problems += [html.unescape(note) for note in re.findall("<li>(.*?)</li>", text)]
    if not problems and not any('class="lens-subtitle"' in text for text in drawn):
        asks = [button.label for button in at.button if (button.key or "").startswith("start:")]
        problems.append(f"nothing to see before a click on {asks[0]!r}" if asks else "there is nothing to show")
    figures = [json.loads(chart.proto.spec) for chart in at.get("plotly_chart")]
    contrast = min(map(least_contrast, figures), default=None)
    if contrast is not None and contrast.value < ENOUGH:
        problems.append(
            f"text is hard to read: contrast {contrast.value:.1f} in the {contrast.theme} theme, {contrast.where}"
        )
    return Checked(slide, seconds, tuple(problems), contrast)


def report(number: int, checked: Checked) -> Checked:
    """Print what one slide did."""
    state = "ok     " if not checked.problems else "PROBLEM"
    contrast = "no chart     " if checked.contrast is None else f"contrast {checked.contrast.value:4.1f}"
    print(f"{number:>3}  {state} {checked.seconds:6.1f} s  {contrast}  {checked.slide.title}  ({checked.slide.link})")  # noqa: T201
    for problem in checked.problems:
        print(f"       {problem}")  # noqa: T201
    return checked


def _end(deck: Deck, checked: list[Checked]) -> int:
    bad = sum(bool(one.problems) for one in checked)
    whole = f"{deck.title}: {len(checked)} slides, {sum(one.seconds for one in checked):.0f} s"
    print(f"{whole}, {'all can be shown' if not bad else f'{bad} cannot be shown as they are'}.", file=sys.stderr)  # noqa: T201
    return int(bad > 0)
