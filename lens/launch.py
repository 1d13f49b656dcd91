"""``lens app``: the Streamlit app, from any folder, on this machine alone or hosted for others."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from lens.load.number_format import number_format
from lens.load.ram import budget_bytes

HOST = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*", re.IGNORECASE)
PACKAGE = Path(__file__).parent
USAGE = """usage: lens app [options of `streamlit run`]

Starts the app and opens it in the browser. What follows is handed to Streamlit, for example
  lens app --server.port 8600
  lens app --server.headless true
The folder from which it is started is where relative paths of model folders begin.

With LENS_HOSTED=1 it serves visitors of other machines, within limits. LENS_HOSTS=lens.example.org,*.example.org
names the hosts it is reached by: others are turned away, and its pages work inside a page of another site.
LENS_DTYPE=bfloat16 opens models in half the memory; LENS_MODEL_MEMORY=6GB bounds those that are open."""
HOSTED = (
    "--server.address=0.0.0.0",
    "--server.headless=true",
    "--server.fileWatcherType=none",
    "--server.runOnSave=false",
    "--server.maxUploadSize=30",  # megabytes, refused while they arrive: the largest is a file of findings
    "--server.maxMessageSize=64",  # megabytes of one message, either way
    "--client.showErrorDetails=type",
)
NO_AGENTS = "--server.enableAgentApi=false"  # programs that drive the app: never for strangers, whatever else is asked


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


def hosts() -> tuple[str, ...]:
    """The names in $LENS_HOSTS by which a hosted server is reached; ValueError for what is no host's name."""
    named = tuple(filter(None, re.split(r"[\s,]+", os.environ.get("LENS_HOSTS", ""))))
    for name in named:
        if not HOST.fullmatch(name):
            raise ValueError(f"LENS_HOSTS names {name!r}; give names such as lens.example.org or *.example.org.")
    return named


def options(arguments: list[str]) -> list[str]:
    """What ``streamlit run`` is given: the settings of a hosted server where it is one, and the visitor's own.

    Inside a page of another site the cookie against forged uploads is a foreign one: a browser sends it only over HTTPS
    and with SameSite=None. It is that where hosts are named, and on a Space, which is always seen inside another page.
    """
    if os.environ.get("LENS_HOSTED") != "1":
        return arguments
    named, space = hosts(), os.environ.get("SPACE_HOST", "")
    allowed = [f"--server.allowedHosts={name}" for name in (*named, "localhost")] if named else []
    origins = [name for name in (*named, *filter(HOST.fullmatch, [space])) if not name.startswith("*")]
    framed = ["--server.xsrfCookieSameSite=none"] if named or space else []
    seen = [f"--server.corsAllowedOrigins=https://{name}" for name in dict.fromkeys(origins)]
    return [*HOSTED, *allowed, *seen, *framed, *arguments, NO_AGENTS]


def main(arguments: list[str]) -> int:
    """Serve the app until it is stopped; 2 with a sentence where the environment asks for what there is not."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)  # noqa: T201 - a command line
        return 0
    try:
        number_format(), budget_bytes()
        command = ["streamlit", "run", str(app_script()), *options(arguments)]
    except ValueError as error:
        print(f"lens app: {error}", file=sys.stderr)  # noqa: T201 - a command line
        return 2
    from streamlit.web import cli

    sys.argv = command
    return cli.main(prog_name="lens app", standalone_mode=False) or 0
