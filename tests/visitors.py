"""Visitors of the app without a browser: websocket clients that speak Streamlit's own protocol, and what they see."""

import hashlib
import html
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlencode

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets import ClientConnection

# What says how long it took, which models are open just now, and when a kept result was measured.
PASSING = ('class="lens-badge"', 'class="lens-memory"', "Measured on 20")


class Place(NamedTuple):
    """One view: a page and what its address says. Pages are named as in ``pages/``; Home is ""."""

    page: str
    query: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"/{self.page}?{urlencode(self.query)}"


class View(NamedTuple):
    """What one run of a page left on the screen: texts, tables and figures in order, the latter two as digests."""

    place: Place
    seconds: float  # from asking to the end of the run
    n_bytes: int
    texts: tuple[str, ...]
    errors: tuple[str, ...]


class Screen:
    """The elements of a tab, by where they stand."""

    def __init__(self) -> None:
        self._elements: dict[tuple[int, ...], Element] = {}

    def apply(self, path: tuple[int, ...], delta: Delta) -> None:
        """Draw one change, as a browser does: an element replaces all there was, a block only an element."""
        is_element = delta.HasField("new_element")
        for old in [old for old in self._elements if old == path or (is_element and old[: len(path)] == path)]:
            del self._elements[old]
        if is_element:
            self._elements[path] = delta.new_element

    def texts(self) -> tuple[str, ...]:
        """What a visitor reads, from top to bottom."""
        found = (text_of(self._elements[path]) for path in sorted(self._elements))
        return tuple(text for text in found if text and not any(part in text for part in PASSING))

    def errors(self) -> tuple[str, ...]:
        """What went wrong: exceptions, and the sentences of ``st.error``."""
        found = []
        for element in self._elements.values():
            if element.WhichOneof("type") == "exception":
                found.append(f"{element.exception.type}: {element.exception.message}")
            elif element.WhichOneof("type") == "alert" and element.alert.format == element.alert.ERROR:
                found.append(element.alert.body)
            elif element.WhichOneof("type") == "code" and "Traceback" in element.code.code_text:
                found.append(element.code.code_text)
        return tuple(found)


def text_of(element: Element) -> str:
    """The text of one element, a digest for a table or a figure; "" for widgets and what is only decoration."""
    match element.WhichOneof("type"):
        case "html":
            return element.html.body
        case "markdown":
            return element.markdown.body
        case "alert":
            return element.alert.body
        case "heading":
            return element.heading.body
        case "code":
            return element.code.code_text
        case "metric":
            return f"{element.metric.label}: {element.metric.body} {element.metric.delta}"
        case "plotly_chart":
            return f"figure {digest(element.plotly_chart.spec.encode())}"
        case "arrow_data_frame":
            return f"table {digest(element.arrow_data_frame.data)}"
        case "bidi_component":
            return f"component {digest(element.bidi_component.json.encode())}"
    return ""


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


class Visitor:
    """One open tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def ask(self, place: Place) -> None:
        """Go to a page; what it shows comes later."""
        message = BackMsg()
        message.rerun_script.page_name = place.page
        message.rerun_script.is_history_navigation = True  # the address says all, whatever the tab showed before
        message.rerun_script.query_string = urlencode(place.query)
        await self._socket.send(message.SerializeToString())

    async def messages(self, place: Place) -> AsyncIterator[tuple[ForwardMsg, int]]:
        """Go to a page: what is sent of it until it is complete, each with its bytes."""
        await self.ask(place)
        while True:
            data = await self._socket.recv()
            message = ForwardMsg.FromString(data)
            yield message, len(data)
            if message.HasField("script_finished") and message.script_finished == message.FINISHED_SUCCESSFULLY:
                return

    async def view(self, place: Place) -> View:
        """Go to a page and wait until it is complete."""
        start, screen, n_bytes = time.perf_counter(), Screen(), 0
        async for message, size in self.messages(place):
            n_bytes += size
            if message.HasField("delta"):
                screen.apply(tuple(message.metadata.delta_path), message.delta)
        return View(place, time.perf_counter() - start, n_bytes, screen.texts(), screen.errors())


@asynccontextmanager
async def visitor(url: str) -> Iterator[Visitor]:
    """A new visitor of the app at ``url``; the tab is closed when the block ends."""
    address = url.replace("http", "ws", 1) + "/_stcore/stream"
    async with websockets.connect(address, subprotocols=["streamlit"], max_size=None, open_timeout=120) as socket:
        yield Visitor(socket)


def differences(seen: View, alone: View) -> list[str]:
    """What one view of a place says otherwise than another one of the same place."""
    pairs = [(a, b) for a, b in zip(seen.texts, alone.texts) if a != b]
    found = [f"{seen.place}: {html.unescape(a)[:200]!r} instead of {html.unescape(b)[:200]!r}" for a, b in pairs]
    if len(seen.texts) != len(alone.texts):
        found.append(f"{seen.place}: {len(seen.texts)} texts instead of {len(alone.texts)}")
    return found
