"""What a view of each page costs the server: seconds of the first, processor time and bytes of one with all cached.

``python -m tests.benchmarks.bench_views [model] [pages] [root] [other root]``

``pages`` is ``all`` or names with commas (``home,patching``); a root is a checkout, this one if none is given. Two are
measured in turn, page by page, so that what else the machine does falls on both. Prints, asserts nothing.

A connection is a visitor whose browser keeps nothing, so each view is sent whole; "again" is what is sent of it to a
browser that keeps messages, as browsers do, and looks at the same view once more. "chart" is when the first chart of
the first view is sent; "cpu" is user and system time of the server, all threads, for one cached view; the last column
says what most of its bytes are.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

ROOT = Path(__file__).parents[2]
WARM = 6  # cached views that are averaged
REST = 0.6  # seconds in which the server does what it does after a view
FEED = "ws://localhost:{}/_stcore/stream"


class View(NamedTuple):
    """One view of a page as the browser gets it."""

    seconds: float
    chart: float | None  # seconds until the first chart is sent
    n_bytes: int
    parts: Counter[str]  # bytes by kind of element
    errors: list[str]
    kept: frozenset[str]  # the messages that a browser would keep


class Cost(NamedTuple):
    """A page: its first view, the last of its cached ones, their processor time in seconds, and what is sent again."""

    first: View
    cached: View
    cpu: float
    again: View


class Server:
    """The app of one checkout, in a process of its own."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            port = probe.getsockname()[1]
        options = ["--server.port", str(port), "--server.headless", "true", "--server.fileWatcherType", "none"]
        command = [sys.executable, "-m", "streamlit", "run", "app.py", *options]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.root, self.port = root, port
        self._process = subprocess.Popen(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, **quiet)
        self._usage = psutil.Process(self._process.pid)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        times = self._usage.cpu_times()
        return times.user + times.system


async def visit(feed: ClientConnection, page: str, query: str, kept: Iterable[str] = ()) -> View:
    """Ask for a page and read what is sent until it is finished. ``kept``: messages that this browser has."""
    request = BackMsg()
    request.rerun_script.page_name, request.rerun_script.query_string = page, query
    request.rerun_script.cached_message_hashes.extend(kept)
    start, chart, parts, errors, hashes = time.perf_counter(), None, Counter(), [], set()
    await feed.send(request.SerializeToString())
    while True:
        data = await asyncio.wait_for(feed.recv(), 300)
        message = ForwardMsg.FromString(data)
        kind = message.WhichOneof("type")
        if kind == "delta":
            kind = message.delta.WhichOneof("type")
            if kind == "new_element":
                kind = message.delta.new_element.WhichOneof("type")
        if kind == "plotly_chart" and chart is None:
            chart = time.perf_counter() - start
        if kind == "exception":
            errors.append(message.delta.new_element.exception.message)
        parts[kind] += len(data)
        if message.metadata.cacheable:
            hashes.add(message.hash)
        if kind == "script_finished":
            return View(time.perf_counter() - start, chart, parts.total(), parts, errors, frozenset(hashes))


async def measure(server: Server, page: str, query: str) -> Cost:
    """One page for one visitor."""
    async with connect(FEED.format(server.port), subprotocols=["streamlit"], max_size=None) as feed:
        first = await visit(feed, page, query)
        for _ in range(2):  # what is made ready for later views
            await visit(feed, page, query)
        await asyncio.sleep(REST)
        before = server.cpu()
        for _ in range(WARM):
            cached = await visit(feed, page, query)
        await asyncio.sleep(REST)
        cpu = (server.cpu() - before) / WARM
        return Cost(first, cached, cpu, await visit(feed, page, query, cached.kept))


async def wait_for(server: Server) -> None:
    """Until the server answers."""
    for _ in range(100):
        try:
            async with connect(FEED.format(server.port), subprotocols=["streamlit"]):
                return
        except OSError:
            await asyncio.sleep(0.2)
    raise OSError(f"the app of {server.root} does not answer at port {server.port}; does `streamlit run app.py` start?")


async def compare(servers: list[Server], pages: list[str], query: str) -> None:
    """The table: each page, at each root."""
    for server in servers:
        await wait_for(server)
    print(f"{'page':18} {'first':>7} {'chart':>7} {'cpu':>7} {'KB':>7} {'again':>7}   the largest parts, KB")
    for page in pages:
        for server in servers:
            cost = await measure(server, "" if page == "home" else page, query)
            chart = "-" if cost.first.chart is None else f"{cost.first.chart:.2f}"
            parts = ", ".join(f"{kind} {n / 1e3:.0f}" for kind, n in cost.cached.parts.most_common(4))
            row = f"{page:18} {cost.first.seconds:7.2f} {chart:>7} {cost.cpu:7.3f} {cost.cached.n_bytes / 1e3:7.0f}"
            row += f" {cost.again.n_bytes / 1e3:7.0f}"
            root = f"  {server.root.name}" if len(servers) > 1 else ""
            print(f"{row}   {parts}{root}", *cost.cached.errors, flush=True)


def main(model: str = "", pages: str = "all", *roots: str) -> None:
    """``model`` is a name of the catalogue, the app's own first model if it is empty."""
    every = ["home", *sorted(path.stem for path in (ROOT / "pages").glob("*.py"))]
    with ExitStack() as running:
        places = [Path(root).resolve() for root in roots] or [ROOT]
        servers = [running.enter_context(Server(place)) for place in places]
        asyncio.run(compare(servers, every if pages == "all" else pages.split(","), f"model={model}" if model else ""))


if __name__ == "__main__":
    main(*sys.argv[1:])
