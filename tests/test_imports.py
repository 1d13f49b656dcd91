"""The arrows of the package: pages stand on analyses and figures, these on the core, and nothing points back."""

import pytest

from tests.imports import circle, import_graph

ABOVE = ("ui", "compat", "analysis", "figures")  # of the core
COMMAND = "lens.__main__"  # the one command line, which starts every other: above all
PROGRAMS = (
    "lens.selftest",
    "lens.scan",
    "lens.scores",
    "lens.sweeps",
    "lens.train",
)  # command lines stand above the analyses, too; a report of theirs has a figure
MAY = {
    "core": {"core"},
    "analysis": {"core", "analysis"},
    "figures": {"figures"},
    "compat": {"core", "analysis", "compat"},
    "programs": {"core", "analysis", "figures", "programs"},
}


def layer(module):
    part = module.split(".")[1] if "." in module else ""
    if module == COMMAND:
        return "command"
    if module.startswith(PROGRAMS):
        return "programs"
    return part if part in ABOVE else "core"


def whole(module):
    """The module, or its package where what is declared without torch says by name who measures it."""
    package = "lens.analysis.instruments"
    return package if module.startswith(package) else module


@pytest.fixture(scope="module")
def graph():
    return import_graph()


@pytest.mark.parametrize("name", MAY)
def test_no_arrow_points_back(graph, name):
    wrong = {
        (module, other)
        for module, others in graph.items()
        for other in others
        if layer(module) == name and layer(other) not in MAY[name]
    }
    assert not wrong


@pytest.mark.parametrize("name", ["core", "analysis", "figures"])
def test_no_circle(graph, name):
    """Not even through imports inside functions, or for annotations only; a package that must, counts as one."""
    own: dict[str, set[str]] = {}
    for module, others in graph.items():
        if layer(module) == name:
            found = {whole(other) for other in others if layer(other) == name} - {whole(module)}
            own[whole(module)] = own.get(whole(module), set()) | found
    assert circle(own) == []


def test_a_circle_is_found():
    ring = circle({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()})
    assert sorted(set(ring)) == ["a", "b", "c"]
    assert ring[0] == ring[-1]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_every_import_is_seen(graph):
    """One of each kind: a name of a module, a module of a package, inside a function, for annotations only."""
    assert "lens.components" in graph["lens.model"]
    assert "lens.load.hub" in graph["lens.load.sources"]
    assert "lens.analysis.selftest" in graph["lens.selftest"]
    assert "lens.cache" in graph["lens.decompose"]
    assert "lens.cache" not in import_graph(types=False)["lens.decompose"]
