"""``lens.show(model)`` and ``lens show FOLDER``: the app on a model of one's own, served to this machine alone.

``lens.watch(folder)`` and ``lens watch FOLDER``: the same on a training that is under way.
"""

from __future__ import annotations

import copy
import html
import logging
import os
import socket
import sys
import threading
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from lens.given import LOCAL, NOW, forget, give
from lens.launch import app_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lens.hooked import HookedTransformer

HOST = "127.0.0.1"
LOGS = ("uvicorn.error", "uvicorn.access")  # they would name every request in the terminal or notebook
START = 60.0  # seconds in which a server has to answer
PATIENCE = 3  # seconds that open tabs have to close when the server ends
USAGE = """usage: lens show MODEL [--page PAGE] [--port N] [--no-browser]

Opens the app on a model of your own: a folder with config.json and weights, a folder of checkpoints, or a .gguf file.
A name of the catalogue or of the Hub is opened as well. It is served to this machine alone, until Ctrl+C.
  lens show ./my-model
  lens show ./my-model --page attention
In Python, lens.show(model) does the same with a model that is in memory."""
WATCH_USAGE = """usage: lens watch FOLDER [--port N] [--no-browser]

Opens Training dynamics on a training run of this machine, and adds its checkpoints as they come: folders checkpoint-10,
checkpoint-20 … in FOLDER, as the Hugging Face Trainer writes them. It may be empty at the start. A checkpoint that is
still being written is left out until it is whole. It is served to this machine alone, until Ctrl+C."""


class Server:
    """The app in a thread of this process. One serves all that is shown in it."""

    def __init__(self, port: int | None = None) -> None:
        import uvicorn
        from streamlit.starlette import App

        self._socket = socket.create_server((HOST, port or 0))
        self.port: int = self._socket.getsockname()[1]
        for name in LOGS:
            logging.getLogger(name).addFilter(_only_warnings)
        how = {"host": HOST, "port": self.port, "log_config": None, "timeout_graceful_shutdown": PATIENCE}
        config = uvicorn.Config(App(app_script()), **how)
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, args=([self._socket],), name="lens.show", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START
        while not self._uvicorn.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"lens.show: the app's server did not start on port {self.port}; see its log")
            time.sleep(0.02)

    @property
    def is_running(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End it, and wait until it has ended; what was given in this process is given no longer."""
        self._uvicorn.should_exit = True
        self._thread.join()
        self._socket.close()
        for name in LOGS:
            logging.getLogger(name).removeFilter(_only_warnings)
        forget()


def _only_warnings(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


class Showing(NamedTuple):
    """Where a model is shown. In a notebook it is a link."""

    url: str
    server: Server

    def stop(self) -> None:
        """End the server, with all that is shown in this process."""
        self.server.stop()

    def _repr_html_(self) -> str:
        return f'<a href="{html.escape(self.url)}" target="_blank">{html.escape(self.url)}</a>'


_SERVERS: list[Server] = []
_STARTING = threading.Lock()


def show(
    model: HookedTransformer | PreTrainedModel | str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    name: str = "",
    page: str = "",
    port: int | None = None,
    browser: bool = True,
) -> Showing:
    """Open the app on ``model``: one in memory, a folder, a .gguf file, or a name that ``from_pretrained`` knows.

    A model in memory is shared with the app, not copied: call this again after its weights changed, since results are
    kept under the name that a call gives. ``tokenizer`` belongs to a model of transformers. ``page`` is a page's
    address ("attention"), Home if none is given. The server listens on this machine alone and ends with the process,
    or by ``.stop()``; a second call uses the first one's. RuntimeError in a process that is hosted for others.
    """
    _check_alone("lens.show")
    return _served(page, {"model": _address(model, tokenizer, name)}, port, browser)


def watch(folder: str | Path, *, port: int | None = None, browser: bool = True) -> Showing:
    """Open Training dynamics on a run that still trains: each checkpoint is added when it is whole.

    ``folder`` is where the training writes checkpoint-… folders, as the Hugging Face Trainer does; it may be empty
    still. The rest is as of :func:`show`.
    """
    _check_alone("lens.watch")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(
            f"lens.watch: there is no folder {path}. Give the one in which the training writes checkpoint-… folders."
        )
    return _served("training_dynamics", {"model": _address(path, None, ""), "watch": "on"}, port, browser)


def _check_alone(who: str) -> None:
    if os.environ.get("LENS_HOSTED") == "1":
        raise RuntimeError(f"{who} serves this machine alone; LENS_HOSTED=1 says that others are served.")


def _served(page: str, query: dict[str, str], port: int | None, browser: bool) -> Showing:
    with _STARTING:
        if not _SERVERS or not _SERVERS[-1].is_running:
            _SERVERS.append(Server(port))
        server = _SERVERS[-1]
    if port is not None and port != server.port:
        raise RuntimeError(f"lens.show: this process serves on port {server.port} already; stop that first.")
    showing = Showing(f"http://localhost:{server.port}/{page.strip('/')}?{urlencode(query)}", server)
    if browser:
        webbrowser.open(showing.url)
    return showing


def _address(model: HookedTransformer | PreTrainedModel | str | Path, tokenizer: object, name: str) -> str:
    """What an address calls the model; it is given to the app if the catalogue does not have it."""
    if isinstance(model, (str, Path)):
        path = Path(model).expanduser()
        if path.exists():
            return LOCAL + give(path.resolve(), name or path.resolve().name)
        if isinstance(model, Path):
            raise FileNotFoundError(f"lens.show: there is no {path} on this machine.")
        from lens.load import catalogue

        return catalogue.resolve(model, paths=False).alias
    from lens.hooked import HookedTransformer

    if not isinstance(model, HookedTransformer):
        model = HookedTransformer.from_transformers(model, tokenizer)
    shown = copy.copy(model)  # the same weights under the name of this call
    called = give(shown, name or model.name)
    shown.name, shown.revision = called, NOW
    return LOCAL + called


def main(arguments: list[str]) -> int:
    """Show a model until Ctrl+C; 2 with a sentence for what cannot be shown."""
    return _command("show", USAGE, arguments, show, "page")


def watch_main(arguments: list[str]) -> int:
    """Watch a folder until Ctrl+C; 2 with a sentence for what cannot be watched."""
    return _command("watch", WATCH_USAGE, arguments, watch)


def _command(verb: str, usage: str, arguments: list[str], serve: Callable[..., Showing], *words: str) -> int:
    """Serve what is named first, until Ctrl+C; ``words``: options of this command alone, texts."""
    import argparse

    parser = argparse.ArgumentParser(f"lens {verb}", usage=usage.removeprefix("usage: "), add_help=False)
    parser.add_argument("what", nargs="?")
    for word in words:
        parser.add_argument(f"--{word}", default="")
    parser.add_argument("--port", type=int)
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("-h", "--help", action="store_true")
    given = parser.parse_args(arguments)
    if given.help or not given.what:
        print(usage, file=sys.stdout if given.help else sys.stderr)
        return 0 if given.help else 2
    try:
        own = {word: getattr(given, word) for word in words}
        showing = serve(given.what, **own, port=given.port, browser=not given.no_browser)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"lens {verb}: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return 2
    return _until_stopped(showing, given.what)


def _until_stopped(showing: Showing, what: str) -> int:
    print(f"{what} is shown at {showing.url}\nCtrl+C ends it.", flush=True)  # noqa: T201 - a command line
    try:
        while showing.server.is_running:
            time.sleep(0.2)
    except KeyboardInterrupt:
        showing.stop()
    return 0
