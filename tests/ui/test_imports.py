"""The direction of imports: pages use what is shared, never each other; figures know nothing of Lens but figures.

And what a reader of ``lens.ui`` may rely on: every public function says what it takes and gives.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "lens").rglob("*.py"))
}


def imported(module: str) -> set[str]:
    """Modules of Lens that ``module`` imports, at its top or in a function; not those for type checking only."""
    tree = ast.parse(FILES[module].read_text(encoding="utf-8"))
    for_types = {id(inside) for node in ast.walk(tree) if is_for_types(node) for inside in ast.walk(node)}
    names = set()
    for node in (one for one in ast.walk(tree) if id(one) not in for_types):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in FILES else str(node.module) for name in full}
    return (names & FILES.keys()) - {module}


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


GRAPH = {module: imported(module) for module in FILES}


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def page_of(module: str) -> str:
    """Which page a module belongs to; "" for none."""
    parts = module.split(".")
    return parts[3] if parts[:3] == ["lens", "ui", "pages"] and len(parts) > 3 else ""


def test_no_page_imports_another():
    wrong = [
        (module, name)
        for module, names in GRAPH.items()
        for name in names
        if page_of(module) and page_of(name) not in ("", page_of(module))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("package", "never"),
    [
        ("lens.ui.shared", "lens.ui.pages"),
        ("lens.analysis", "lens.ui"),
        ("lens.analysis", "lens.figures"),
        ("lens.figures", "lens.ui"),
        ("lens.figures", "lens.analysis"),
    ],
)
def test_a_package_never_imports_what_stands_above_it(package, never):
    wrong = [(m, name) for m, names in GRAPH.items() for name in names if inside(m, package) and inside(name, never)]
    assert wrong == []


def test_only_the_menu_knows_all_pages():
    outside = {
        module
        for module, names in GRAPH.items()
        if not inside(module, "lens.ui.pages") and any(page_of(name) for name in names)
    }
    assert outside == {"lens.ui.menu", "lens.__main__"}, "and the command line knows the one that it runs"


def test_the_core_knows_no_analysis_figure_or_page():
    above = ("lens.ui", "lens.figures")
    core = [m for m in FILES if not any(inside(m, package) for package in (*above, "lens.__main__", "lens.scan"))]
    assert [(m, name) for m in core for name in GRAPH[m] if any(inside(name, package) for package in above)] == []


def test_figures_import_nothing_of_lens_but_figures():
    mine = [module for module in FILES if inside(module, "lens.figures")]
    assert [(m, name) for m in mine for name in GRAPH[m] if not inside(name, "lens.figures")] == []


def test_the_ui_has_no_circle_of_imports():
    """Functions' imports count too: a circle that is opened by importing late is still one."""
    left = {module: {name for name in GRAPH[module] if inside(name, "lens.ui")} for module in FILES}
    left = {module: names for module, names in left.items() if inside(module, "lens.ui")}
    while True:
        free = {module for module, names in left.items() if not names & left.keys()}
        if not free:
            break
        left = {module: names for module, names in left.items() if module not in free}
    assert sorted(left) == []


def bare(function: ast.FunctionDef) -> list[str]:
    """Parameters of a function that have no type, and "return" where it does not say what it gives."""
    every = function.args
    parameters = [*every.posonlyargs, *every.args, *every.kwonlyargs, every.vararg, every.kwarg]
    names = [one.arg for one in parameters if one is not None and one.annotation is None]
    return [name for name in names if name not in ("self", "cls")] + ["return"] * (function.returns is None)


def functions(nodes: list[ast.stmt]) -> list[ast.FunctionDef]:
    """The functions of a module and the methods of its classes; not those inside of functions."""
    here = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    return here + [one for node in nodes if isinstance(node, ast.ClassDef) for one in functions(node.body)]


def test_every_public_function_of_the_ui_has_types():
    every = {
        f"{module}.{one.name}": bare(one)
        for module, path in FILES.items()
        if inside(module, "lens.ui")
        for one in functions(ast.parse(path.read_text(encoding="utf-8")).body)
        if not one.name.startswith("_") or one.name == "__init__"
    }
    assert len(every) > 500
    assert {name: missing for name, missing in every.items() if missing} == {}


def test_a_function_without_types_is_noticed():
    (function,) = functions(ast.parse("class A:\n    def f(self, x, *y: int, z=1): ...").body)
    assert bare(function) == ["x", "z", "return"]
