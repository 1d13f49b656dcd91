"""The app's scripts stand at the top of the repository; in a wheel they travel inside the package, as ``lens/site``."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SITE = ("app.py", "pages", ".streamlit/config.toml", "static")


class BuildWithSite(build_py):
    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        here, site = Path(__file__).parent, Path(self.build_lib, "lens", "site")
        shutil.rmtree(site, ignore_errors=True)
        for name in SITE:
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (here / name).is_dir() else shutil.copy
            copy(here / name, site / name)


setup(cmdclass={"build_py": BuildWithSite})
