"""The command ``lens``, in the repository and as a wheel away from it."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from lens.__main__ import COMMANDS, main
from lens.findings.finding import LARGEST
from lens.launch import HOSTED, NO_AGENTS, app_script, hosts, options
from tests.browser.conftest import ROOT, served
from tests.visitors import Place, visitor

LEAVE = shutil.ignore_patterns(
    ".git", "tests", "docs", "screenshots", "__pycache__", "build", "*.egg-info", "circuitsvis-*.js"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with nothing but the installed wheel, made from a copy of the repository."""
    source, built, site = (tmp_path_factory.mktemp(name) for name in ("source", "built", "site"))
    shutil.copytree(ROOT, source / "lens", ignore=LEAVE)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", str(source / "lens"), "--no-deps", "--no-build-isolation", "-w", built], check=True)
    (wheel,) = built.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    return site


def environment(site: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(site), "LENS_CACHE": str(site / "cache")}


def test_the_wheel_serves_the_app_from_any_folder(installed, tmp_path):
    command = [sys.executable, str(installed / "bin" / "lens"), "app"]
    with served(command, environment(installed), tmp_path, tmp_path / "log") as url:
        places = [
            Place("", ()),
            Place("head_scores", (("model", "lens-2l"),)),
            Place("attention", (("look", "maps"),)),
        ]

        async def views():
            async with visitor(url) as tab:
                return [await tab.view(place) for place in places]

        seen = asyncio.run(views())
        assert [view.errors for view in seen] == [()] * 3
        assert "look at the token after an earlier occurrence" in re.sub("<[^>]*>", "", " ".join(seen[1].texts))
        (script,) = (installed / "lens" / "site" / "static").glob("circuitsvis-*.js")
        with urllib.request.urlopen(f"{url}/app/static/{script.name}") as answer:
            assert answer.status == 200
            assert len(answer.read()) == script.stat().st_size


def test_the_wheel_has_the_settings_and_a_script_for_every_page(installed):
    site = installed / "lens" / "site"
    assert app_script(installed / "lens") == site / "app.py"
    assert {path.name for path in (site / "pages").glob("*.py")} == {
        path.name for path in (ROOT / "pages").glob("*.py")
    }
    assert (site / ".streamlit" / "config.toml").read_text() == (ROOT / ".streamlit" / "config.toml").read_text()


def test_the_commands_of_the_wheel_run_in_an_empty_folder(installed, tmp_path):
    command = [sys.executable, str(installed / "bin" / "lens"), "scores", "lens-2l", "--seqs", "8", "--out", "x.csv"]
    subprocess.run(command, cwd=tmp_path, env=environment(installed), check=True, capture_output=True)
    assert (tmp_path / "x.csv").read_text().startswith("instrument,head,")


def test_in_the_repository_the_app_is_that_of_the_repository():
    assert app_script() == ROOT / "app.py"


def test_a_package_without_its_scripts_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"install the package with `pip install \.`"):
        app_script(tmp_path / "lens")


def test_without_a_command_it_says_which_there_are(capsys):
    assert main([]) == main(["fly"]) == 2
    assert capsys.readouterr().err.count("usage: lens {" + ",".join(COMMANDS)) == 2
    assert main(["app", "--help"]) == 0
    assert "lens app" in capsys.readouterr().out


@pytest.fixture
def settings(monkeypatch):
    """``settings(LENS_HOSTED="1")``: what Streamlit makes of the options that such an environment gives."""
    from click.testing import CliRunner
    from streamlit.web import cli

    def ask(*arguments: str, **environment: str) -> dict[str, object]:
        for name in ("LENS_HOSTED", "LENS_HOSTS", "SPACE_HOST"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        read: dict[str, object] = {}
        monkeypatch.setattr("streamlit.web.bootstrap.run", lambda *given: read.update(given[3]))
        result = CliRunner().invoke(cli.main, ["run", str(app_script()), *options(list(arguments))])
        assert result.exit_code == 0, result.output
        return {name: value for name, value in read.items() if value not in (None, (), [])}

    return ask


def test_at_home_nothing_is_set_but_what_is_asked_for(settings):
    assert settings("--server.port=8600") == {"server_port": 8600}


def test_a_hosted_server_turns_other_hosts_away_and_keeps_its_cookie_in_an_iframe(settings):
    found = settings(LENS_HOSTED="1", LENS_HOSTS="lens.example.org, *.example.com")
    assert list(found["server_allowedHosts"]) == ["lens.example.org", "*.example.com", "localhost"]
    assert list(found["server_corsAllowedOrigins"]) == ["https://lens.example.org"]
    assert found["server_xsrfCookieSameSite"] == "none"
    assert found["server_address"] == "0.0.0.0"
    assert found["server_fileWatcherType"] == "none"
    assert found["client_showErrorDetails"] == "type"
    assert found["server_maxUploadSize"] * 2**20 >= LARGEST, "a whole file of findings can be opened"
    assert "server_enableCORS" not in found
    assert "server_enableXsrfProtection" not in found


def test_a_space_is_seen_in_an_iframe_and_says_itself_where(settings):
    found = settings(LENS_HOSTED="1", SPACE_HOST="someone-lens.hf.space")
    assert list(found["server_corsAllowedOrigins"]) == ["https://someone-lens.hf.space"]
    assert found["server_xsrfCookieSameSite"] == "none"
    assert "server_allowedHosts" not in found, "whether the proxy of a Space keeps the name of the host is not known"


def test_without_a_name_the_cookie_is_the_stricter_one(settings):
    assert "server_xsrfCookieSameSite" not in settings(LENS_HOSTED="1")


def test_programs_drive_no_hosted_app_whatever_is_asked_for(settings):
    assert settings("--server.enableAgentApi=true", LENS_HOSTED="1")["server_enableAgentApi"] is False


def test_every_setting_of_a_hosted_server_is_one_of_this_streamlit():
    from streamlit import config

    config.get_config_options()
    names = [option.lstrip("-").split("=")[0] for option in (*HOSTED, NO_AGENTS)]
    assert not set(names) - set(config._config_options_template)


@pytest.mark.parametrize("name", ["https://lens.example.org", "lens example!", "*", "--server.enableCORS=false"])
def test_what_is_no_name_of_a_host_is_said_before_anything_starts(monkeypatch, capsys, name):
    monkeypatch.setenv("LENS_HOSTED", "1")
    monkeypatch.setenv("LENS_HOSTS", name)
    with pytest.raises(ValueError, match="LENS_HOSTS names"):
        hosts()
    assert main(["app"]) == 2
    assert "give names such as lens.example.org" in capsys.readouterr().err
