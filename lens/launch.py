"""``lens app``: the Streamlit app, from any folder."""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = Path(__file__).parent
USAGE = """usage: lens app [options of `streamlit run`]

Starts the app and opens it in the browser. What follows is handed to Streamlit, for example
  lens app --server.port 8600
  lens app --server.headless true
The folder from which it is started is where relative paths of model folders begin."""


def app_script(package: Path = PACKAGE) -> Path:
    """``app.py``: beside the package in the repository, inside it in an installed wheel.

    FileNotFoundError if it is in neither place, as after a copy of the package alone.
    """
    places = (package / "site" / "app.py", package.parent / "app.py")
    for place in places:
        if place.exists() and (place.parent / "pages").is_dir():
            return place
    raise FileNotFoundError(
        f"the app's scripts are in neither {places[0].parent} nor {places[1].parent}: "
        "install the package with `pip install .` in the repository, or run it there"
    )


def main(arguments: list[str]) -> int:
    """Serve the app until it is stopped."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)  # noqa: T201 - a command line
        return 0
    from streamlit.web import cli

    sys.argv = ["streamlit", "run", str(app_script()), *arguments]
    return cli.main(prog_name="lens app", standalone_mode=False) or 0
