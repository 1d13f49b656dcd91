"""Many visitors at once, without a pause between two views: what each takes, and whether it says what it says alone.

``python -m tests.benchmarks.bench_load [visitors] [seconds] [seed] [tree]``

Starts the app (of another working tree, to compare) with an empty cache folder. Every visitor walks through one mix of
pages, small models, prompts and heads; now and then one closes the tab in the middle of work, or opens a new one. Then
every view that was seen is asked for once more by one visitor alone, at a server of its own: all must say the same.
"Light" are the pages Model, Tokens and Attention.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from lens.ui.menu import MENU
from tests.browser.conftest import streamlit_server
from tests.visitors import Place, View, Visitor, differences, visitor

MODELS = ("lens-1l", "lens-2l", "lens-3l", "planted-induction")
PROMPTS = (
    "After John and Mary went to the store, Mary gave a bottle of milk to",
    "The cat sat on the mat. The mat sat on the cat.",
    "one two three four one two three",
)
LIGHT = ("model", "tokens", "attention")
EACH = 8  # places of every page
LEAVES, RELOADS = 0.04, 0.1  # of the views: the tab is closed before it is complete; a new tab is opened for it
PATIENCE = 2.0  # seconds, at most, before a tab is closed in the middle
LONGEST = 600.0  # seconds of one view
SLOW = 2.0  # seconds between two looks at the memory


class Load(NamedTuple):
    """What came of it. ``memory``: (seconds since the first view, bytes of the server)."""

    views: list[View]
    closed: list[Place]  # where a tab was closed in the middle
    failures: list[str]
    memory: list[tuple[float, int]]
    cpu: list[float]  # seconds of the server, of its own and of the system


def places(seed: int, pages: tuple[str, ...] = (), each: int = EACH) -> list[Place]:
    """The mix: of every page as many places, drawn from models, prompts and heads."""
    drawn, found = random.Random(seed), []
    for page in pages or tuple(page.path for page in MENU):
        for number in range(each):
            head = {"layer": "0", "head": str(drawn.randrange(4))} if drawn.random() < 0.7 else {}
            query = {"model": MODELS[number % len(MODELS)], "prompt": drawn.choice(PROMPTS), **head}
            found.append(Place(page, tuple(query.items())))
    return list(dict.fromkeys(found))


class Walk:
    """One visitor, who goes on for so many views or so many seconds, and closes the tab in that share of them."""

    def __init__(self, views: float, seconds: float, leaves: float) -> None:
        self._left, self._until, self._leaves = views, time.perf_counter() + seconds, leaves

    def goes_on(self) -> bool:
        return self._left > 0 and time.perf_counter() < self._until

    async def through(self, url: str, mix: list[Place], drawn: random.Random, load: Load) -> None:
        """From tab to tab."""
        while self.goes_on():
            async with visitor(url) as tab:
                while self.goes_on() and await self._view(tab, drawn.choice(mix), drawn, load):
                    pass

    async def _view(self, tab: Visitor, place: Place, drawn: random.Random, load: Load) -> bool:
        """One view; whether the tab stays open."""
        self._left -= 1
        if drawn.random() < self._leaves:
            with suppress(TimeoutError):
                await asyncio.wait_for(tab.view(place), drawn.uniform(0.1, PATIENCE))
            load.closed.append(place)
            return False
        try:
            load.views.append(await asyncio.wait_for(tab.view(place), LONGEST))
        except Exception as error:  # noqa: BLE001 - whatever went wrong is what is counted
            load.failures.append(f"{place}: {error!r}")
            return False
        return drawn.random() > RELOADS


async def watch(server: psutil.Process, memory: list[tuple[float, int]]) -> None:
    start = time.perf_counter()
    while True:
        memory.append((time.perf_counter() - start, server.memory_info().rss))
        await asyncio.sleep(SLOW)


async def visit(
    url: str,
    mix: list[Place],
    visitors: int,
    seed: int,
    views: float = np.inf,
    seconds: float = np.inf,
    leaves: float = LEAVES,
) -> Load:
    """Many visitors of a server that runs, each for so many views or seconds."""
    server, load = serving(url), Load([], [], [], [], [])
    watching = asyncio.create_task(watch(server, load.memory))
    walks = [
        Walk(views, seconds, leaves).through(url, mix, random.Random(f"{seed} {n}"), load) for n in range(visitors)
    ]
    await asyncio.gather(*walks)
    watching.cancel()
    load.cpu.extend(server.cpu_times()[:2])
    return load


async def alone(url: str, wanted: list[Place]) -> dict[Place, View]:
    """Every place once, one after the other, by one visitor."""
    async with visitor(url) as tab:
        return {place: await tab.view(place) for place in wanted}


def serving(url: str) -> psutil.Process:
    """The process that listens at ``url``: a child of this one."""
    port = int(url.rpartition(":")[2])
    return next(
        process
        for process in psutil.Process().children(recursive=True)
        if any(one.laddr.port == port for one in process.net_connections())
    )


def quantiles(views: list[View]) -> str:
    seconds = [view.seconds for view in views]
    if not seconds:
        return f"{0:6d}"
    middle, high = np.percentile(seconds, [50, 95])
    size = np.mean([view.n_bytes for view in views]) / 1e3
    return f"{len(seconds):6d} {middle:8.2f} {high:8.2f} {max(seconds):8.2f} {size:8.0f}"


def print_load(load: Load, seconds: float) -> None:
    """The table: a line for every page, for the light ones and for all."""
    print(f"{'':18} {'views':>6} {'p50 s':>8} {'p95 s':>8} {'max s':>8} {'kB':>8}")
    for page in MENU:
        print(f"{page.name:18} {quantiles([view for view in load.views if view.place.page == page.path])}")
    print(f"{'light':18} {quantiles([view for view in load.views if view.place.page in LIGHT])}")
    print(f"{'all':18} {quantiles(load.views)}")
    errors = Counter(error for view in load.views for error in view.errors)
    print(f"{60 * len(load.views) / seconds:.0f} views a minute; {len(load.closed)} tabs closed in the middle")
    print(f"server: {sum(load.cpu):.0f} s of processor time")
    print(f"{sum(errors.values())} errors, {len(load.failures)} lost views", *errors, *load.failures[:5], sep="\n  ")
    half = load.memory[len(load.memory) // 2 :]
    print("memory, MB: " + ", ".join(f"{n / 1e6:.0f} at {t:.0f} s" for t, n in (load.memory[0], half[0], half[-1])))


def print_differences(load: Load, reference: dict[Place, View]) -> None:
    wrong = [found for view in load.views if (found := differences(view, reference[view.place]))]
    print(f"{len(load.views)} views of {len(reference)} places compared with a run alone: {len(wrong)} say otherwise")
    for found in wrong[:12]:
        print("  ", *found[:3], sep="\n  ")


def main(visitors: str = "32", seconds: str = "180", seed: str = "0", tree: str = ".") -> None:
    root, mix = Path(tree).resolve(), places(int(seed))
    print(f"{visitors} visitors, {seconds} s, seed {seed}, {len(mix)} places; {psutil.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        with streamlit_server(root / "app.py", {"LENS_CACHE": folder, "PYTHONPATH": str(root)}, root) as url:
            load = asyncio.run(visit(url, mix, int(visitors), int(seed), seconds=float(seconds)))
    print_load(load, float(seconds))
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        with streamlit_server(root / "app.py", {"LENS_CACHE": folder, "PYTHONPATH": str(root)}, root) as url:
            seen = list(dict.fromkeys(view.place for view in load.views))
            print_differences(load, asyncio.run(alone(url, seen)))


if __name__ == "__main__":
    main(*sys.argv[1:])
