"""The steps of the Dockerfile, carried out without a Docker engine: a clean read-only folder, an unprivileged user."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.conftest import ROOT, free_port, wait_for_health
from tests.visitors import Place, visitor

# Root that may do no more than the files' own permissions say: read-only is read-only for it, as for the image's user.
UNPRIVILEGED = ("setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
ELSEWHERE = ("useradd", "pip install")  # what only an image needs: its user, and packages that are here already


def command_prefix() -> tuple[str, ...]:
    """What makes a command that of an unprivileged user."""
    return UNPRIVILEGED if os.geteuid() == 0 else ()


def steps() -> list[tuple[str, str]]:
    """(instruction, arguments) of the Dockerfile."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(" ", 1)) for line in lines]


def environment(home: Path) -> dict[str, str]:
    """The ``ENV`` of the image, its home moved to ``home``."""
    pairs = [shlex.split(rest) for name, rest in steps() if name == "ENV"]
    own = dict(pair.split("=", 1) for line in pairs for pair in line)
    moved = {name: value.replace("/home/lens", str(home)) for name, value in own.items() if name != "PATH"}
    return {name: value for name, value in os.environ.items() if not name.startswith(("LENS_", "HF_"))} | moved


@pytest.fixture
def image(tmp_path) -> tuple[Path, Path]:
    """The folder of the app as the image has it, and the home of its user."""
    app, home = tmp_path / "app", tmp_path / "home"
    app.mkdir()
    home.mkdir()
    for name, rest in steps():
        if name == "COPY":
            source, target = (Path(part) for part in rest.split())
            copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
            leave = {"ignore": shutil.ignore_patterns("__pycache__", "*.js.part", "circuitsvis-*.js")}
            copy(ROOT / source, app / target, **(leave if (ROOT / source).is_dir() else {}))
        elif name == "RUN" and not any(word in rest for word in ELSEWHERE):
            subprocess.run(rest.replace("/app", str(app)), shell=True, cwd=app, env=environment(home), check=True)
    return app, home


def test_the_image_serves_its_pages_to_a_visitor_and_writes_only_at_home(image):
    app, home = image
    refused = [*command_prefix(), sys.executable, "-c", f"open({str(app / 'x')!r}, 'w')"]
    assert subprocess.run(refused, capture_output=True).returncode, "the folder is not read-only for this user"
    before = sorted(path for path in app.rglob("*"))
    (command,) = [json.loads(rest) for name, rest in steps() if name == "CMD"]
    health = next(rest for name, rest in steps() if name == "HEALTHCHECK")
    port = free_port()
    command = [*command_prefix(), sys.executable, *(part.replace("7860", str(port)) for part in command[1:])]
    log = (home / "log").open("wb")
    process = subprocess.Popen(command, cwd=app, env=environment(home), stdout=log, stderr=log)
    try:
        wait_for_health(f"http://localhost:{port}/_stcore/health", process)
        probe = shlex.split(health.split("CMD ", 1)[1].replace("7860", str(port)))
        subprocess.run([sys.executable, *probe[1:]], check=True)

        async def views():
            async with visitor(f"http://localhost:{port}") as tab:
                places = [Place("", ()), Place("attention", (("look", "maps"),)), Place("head_scores", ())]
                return [await tab.view(place) for place in places]

        seen = asyncio.run(views())
    finally:
        process.terminate()
        process.wait(60)
        log.close()
    assert [view.errors for view in seen] == [()] * 3
    assert sorted(path for path in app.rglob("*")) == before
    assert any((home / "cache").rglob("*"))
    assert list((app / "static").glob("circuitsvis-*.js"))


def test_the_image_is_that_of_a_hosted_server_of_an_unprivileged_user():
    names = [name for name, _ in steps()]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("COPY", "RUN"))
    assert environment(Path("/home/lens"))["LENS_HOSTED"] == "1"
    assert ("EXPOSE", "7860") in steps()
    torch = re.search(r"^torch==\S+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert torch is not None
