"""The notebooks of ``docs/`` in plain Python: their code cells run one after the other, and what they print.

``python -m tests.notebooks`` runs them and stores what their cells print.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lens import compat

DOCS = Path(__file__).parents[1] / "docs"


class Ran(NamedTuple):
    """A notebook after a run."""

    variables: dict[str, Any]
    printed: list[str]  # by each code cell
    stored: list[str]  # what the file says that they printed


def run(path: Path) -> Ran:
    """Run all code cells of a notebook, each in what the ones before left. The old names are taken back afterwards."""
    variables, printed = {"__name__": "__main__"}, []
    cells = list(_code(json.loads(path.read_text("utf-8"))))
    gradients = torch.is_grad_enabled()
    try:
        for number, cell in enumerate(cells, 1):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile("".join(cell["source"]), f"{path.name}[{number}]", "exec"), variables)
            printed.append(out.getvalue())
    finally:
        torch.set_grad_enabled(gradients)
        compat.uninstall()
    return Ran(variables, printed, ["".join(line for one in cell["outputs"] for line in one["text"]) for cell in cells])


def store(path: Path) -> None:
    """Run a notebook and write what its cells print into it."""
    notebook, ran = json.loads(path.read_text("utf-8")), run(path)
    for number, (cell, text) in enumerate(zip(_code(notebook), ran.printed, strict=True), 1):
        stream = {"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}
        cell["outputs"], cell["execution_count"] = [stream] if text else [], number
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _code(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (cell for cell in notebook["cells"] if cell["cell_type"] == "code")


if __name__ == "__main__":
    for notebook in sorted(DOCS.glob("*.ipynb")):
        store(notebook)
