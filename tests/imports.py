"""Who imports whom inside ``lens``, read from the source, so that tests can say which way the arrows point."""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def import_graph(package: str = "lens", types: bool = True) -> dict[str, set[str]]:
    """Module → modules of ``package`` that it imports, at its top or inside functions, by full names.

    ``from a import b`` counts as ``a.b`` where that is a module, else as ``a``. ``types``: also what is imported for
    annotations only (under ``if TYPE_CHECKING``).
    """
    files = {_name(path): path for path in sorted((ROOT / package).rglob("*.py"))}
    return {name: set(_imported(ast.parse(path.read_text()), files, types)) - {name} for name, path in files.items()}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first one twice; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _imported(node: ast.AST, files: Mapping[str, Path], types: bool) -> Iterator[str]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not types:
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in files)
    if isinstance(node, ast.ImportFrom):
        full = {f"{node.module}.{alias.name}" for alias in node.names}
        yield from full & files.keys()
        if full - files.keys() and node.module in files:
            yield node.module
    for child in ast.iter_child_nodes(node):
        yield from _imported(child, files, types)
