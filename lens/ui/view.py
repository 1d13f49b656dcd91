"""``ViewState``: the one owner of what a page shows, mirrored in the address so that every page can be reproduced.

The truth is a plain dictionary in ``st.session_state``. It is read from the address when a session starts, when the
visitor goes back or forward, and when a link to another page carries values; it is written to the address when the
frame is entered and at every change. Widgets are seeded from it and write back in callbacks (``lens.ui.widgets``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from lens.analysis.names import Head
from lens.ui.fields import Field, address, common_fields, parse, short, write
from lens.ui.limits import limits

STATE = "view"
REFUSED = "lens:refused"  # a sentence from a callback, shown in the next run
ISSUED = 400  # menu links remembered for each visitor: sixteen pages, the last two dozen runs


def _nothing() -> None:
    """What a view without a frame does when it changes."""


class ViewState:
    """Values of the shared fields and of this page's own options, readable as attributes: ``view.layer``.

    ``notes`` are sentences about values that could not be shown as asked. Change values with ``set`` only. The frame
    hangs the address on ``changed``, its list of notes on ``noted`` and the chips of the pinned heads on ``repinned``,
    so all are right whenever a page ends.
    """

    def __init__(self, fields: Iterable[Field], *homes: dict[str, Any]) -> None:
        self._fields = {field.name: field for field in fields}
        self._homes = {name: home for home in homes for name in home if name in self._fields}
        self.notes: list[str] = []
        self.path = ""
        self.longest: int | None = None  # how many of the prompt's tokens this page reads, where it was cut
        self.arrived = False  # whether this is the first run of this page: the browser's widgets are new and empty
        self.changed: Callable[[], None] = _nothing
        self.noted: Callable[[], None] = _nothing
        self.repinned: Callable[[], None] = _nothing

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._fields:
            raise AttributeError(
                f"the view has no field {name!r}; it has {', '.join(self.__dict__.get('_fields', ()))}"
            )
        return self[name]

    def __getitem__(self, name: str) -> Any:
        value = self._home(name)[name]
        return self.field(name).unset if value is None else value

    def field(self, name: str) -> Field:
        """The declaration of ``name``; KeyError lists the names there are."""
        if name not in self._fields:
            raise KeyError(f"the view has no field {name!r}; it has {', '.join(self._fields)}")
        return self._fields[name]

    def set(self, **changes: Any) -> None:
        """Change values. None means "back to the default"; a value its field refuses raises ``BadValue``."""
        for name, value in changes.items():
            field = self.field(name)
            self._home(name)[name] = field.default if value is None else field.read(field.write(value))
        self.changed()

    def values(self) -> dict[str, Any]:
        """All values as they are kept, defaults included; None where nothing was chosen."""
        return {name: self._home(name)[name] for name in self._fields}

    def twin(self, **values: Any) -> "ViewState":
        """A view with the same values but for these, for what stands beside. What is set or noted there stays there."""
        twin = ViewState(self._fields.values(), self.values() | values)
        twin.path = self.path
        return twin

    def is_known(self, name: str) -> bool:
        """Whether a page that shares the option ``name`` with others was open before, so that it has a value."""
        return name in st.session_state[STATE]["joint"]

    def canonical(self) -> dict[str, str]:
        """The query of this page's address: every value that is not a default, as text."""
        return write(self._fields.values(), self.values())

    def link(self, base: str) -> str:
        """The complete address of what this page shows; ``base`` is the app's root address.

        Where this visitor stands in the tour is no part of it.
        """
        return address(base, self.path, {name: text for name, text in self.canonical().items() if name != "tour"})

    def load(self, query: Mapping[str, str]) -> None:
        """Replace all values by those of an address; what it does not name goes back to its default."""
        values, notes = parse(self._fields.values(), query)
        for name, value in values.items():
            self._home(name)[name] = value
        self.notes.extend(notes)

    def lasting(self) -> dict[str, str]:
        """What a link inside the app leaves as it is, as text, where it does not name it."""
        return {name: text for name, text in self.canonical().items() if self.field(name).lasting}

    def note(self, sentence: str) -> None:
        """Show a sentence under the header of the page in this run."""
        if sentence not in self.notes:
            self.notes.append(sentence)
            self.noted()

    def clamp_heads(self, n_layers: int, n_heads: int) -> None:
        """Keep layer, head and pins inside the model that is open, with a note for each that was not."""
        self._clamp_index("layer", n_layers)
        self._clamp_index("head", n_heads)
        gone = [pin for pin in self["pins"] if pin[0] >= n_layers or pin[1] >= n_heads]
        if gone:
            names = ", ".join(map(str, gone))
            self.note(f"this model has no head {names} ({n_layers} layers of {n_heads} heads): unpinned")
            self.set(pins=tuple(pin for pin in self["pins"] if pin not in gone))
            self.repinned()

    def fit_query(self, n_tokens: int) -> None:
        """Unlock the locked query token when the prompt is shorter than its position."""
        if self["query"] is not None and self["query"] >= n_tokens:
            self.note(f"token {self['query']} does not exist in this prompt ({n_tokens} tokens): unlocked")
            self.set(query=None)

    def one_of(self, name: str, options: Sequence[str]) -> str:
        """The value of ``name`` if the page offers it, else the page's first option and a note."""
        if self[name] not in options:
            self.note(f"{name} {short(str(self[name]))} is not offered here: showing {options[0]}")
            self.set(**{name: options[0]})
        return self[name]

    def within(self, name: str, low: float, high: float) -> float:
        """The value of ``name`` moved into ``low..high``, with a note if it was outside."""
        value = min(max(self[name], low), high)
        if value != self[name]:
            self.note(f"{name} {self[name]} is outside {low} to {high} here: showing {value}")
            self.set(**{name: value})
        return value

    @property
    def selected(self) -> Head | None:
        """The head that was chosen, by a click, a number or the address; None where none was."""
        values = self.values()
        if values["layer"] is None and values["head"] is None:
            return None
        return Head(self["layer"], self["head"])

    def current(self) -> Head | None:
        """The head that a page of one head is about: the selected one, else the last one pinned; None: neither."""
        return self.selected or (self["pins"][-1] if self["pins"] else None)

    def select(self, layer: int, head: int) -> None:
        """Make a head the current one. Pins stay as they are."""
        self.set(layer=layer, head=head)

    def pin(self, layer: int, head: int) -> None:
        """Pin a head and make it the current one; beyond the limit the oldest pin goes."""
        pins = [pin for pin in self["pins"] if pin != (layer, head)] + [Head(layer, head)]
        self.set(pins=tuple(pins[-limits().pins :]), layer=layer, head=head)

    def toggle_pin(self, layer: int, head: int) -> None:
        """Pin a head, or unpin it if it is pinned; it becomes or stays the current one."""
        if (layer, head) in self["pins"]:
            self.set(pins=tuple(pin for pin in self["pins"] if pin != (layer, head)), layer=layer, head=head)
        else:
            self.pin(layer, head)

    def click(self, layer: int, head: int) -> None:
        """What a click on a head does in every figure: select it, or, if it is selected already, pin or unpin it."""
        act = self.toggle_pin if self.selected == (layer, head) else self.select
        act(layer, head)

    def _clamp_index(self, name: str, size: int) -> None:
        if self[name] >= size:
            kind = f"{size} {name}s" if name == "layer" else f"{size} heads a layer"
            self.note(f"{name} {self[name]} does not exist in this model ({kind}): showing {name} 0")
            self.set(**{name: None})

    def _home(self, name: str) -> dict[str, Any]:
        self.field(name)
        return self._homes[name]


def say_next_run(sentence: str) -> None:
    """Show a sentence under the header in the run that follows this callback."""
    st.session_state[REFUSED] = sentence


def open_view(page: str, path: str, options: Iterable[Field] = ()) -> ViewState:
    """The view of this run. ``page`` names whose ``options`` these are; each page keeps its own between visits."""
    shared_fields, options = common_fields(limits()), tuple(options)
    names = [field.name for field in (*shared_fields, *options)]
    clashing = [name for name in names if names.count(name) > 1 or name in dir(ViewState)]
    if clashing:
        raise ValueError(
            f"page {page!r} declares {', '.join(clashing)}, which the view has already; choose other names"
        )
    fresh = STATE not in st.session_state
    empty = {name: {} for name in ("shared", "joint", "options", "own", "said", "declared", "issued")}
    store = st.session_state.setdefault(STATE, {"path": path} | empty)
    own = store["options"].setdefault(path, {})
    for field in shared_fields:
        store["shared"].setdefault(field.name, field.default)
    for field in options:
        (store["joint"] if field.joint else own).setdefault(field.name, field.default)
    store["declared"][path] = {field.name for field in options if field.joint}
    view = ViewState((*shared_fields, *options), store["shared"], store["joint"], own)
    view.path = path
    moved, store["path"] = store["path"] != path, path
    view.arrived = moved or fresh
    query = st.query_params.to_dict()
    outside = fresh or get_script_run_ctx().is_history_navigation
    if query != view.canonical() and (outside or (moved and _foreign(query))):
        view.load(query if outside else view.lasting() | query)
    view.changed = partial(write_address, view)
    view.changed()
    return view


def write_address(view: ViewState) -> None:
    """Make the browser's address the canonical one of ``view``; silent when it already says the same.

    A link that names a default stays as it is: each rewriting is one more step of Back, which would never get past it.
    """
    store, query = st.session_state[STATE], view.canonical()
    store["own"][view.path] = {name: text for name, text in query.items() if name not in store["shared"]}
    store["said"] |= {name: query.get(name) for name in store["joint"] if name in view.values()}
    _issue(query)
    now = st.query_params.to_dict()
    if now != query and not _says(now, view):
        st.query_params.from_dict(query)


def query_for(view: ViewState, path: str, options: Iterable[Field] = ()) -> dict[str, str]:
    """The query of a menu link to another page: the shared values, and that page's ``options`` as they were left.

    Of a value that several pages share, what the last of them had.
    """
    store, here = st.session_state[STATE], view.canonical()
    shared = {name: text for name, text in here.items() if name in store["shared"]}
    said, declared = store["said"], store["declared"].get(path, set()) | {one.name for one in options if one.joint}
    own = {name: text for name, text in store["own"].get(path, {}).items() if name not in said}
    query = shared | own | {name: said[name] for name in declared if said.get(name) is not None}
    _issue(query)
    return query


def _says(query: Mapping[str, str], view: ViewState) -> bool:
    """Whether a query means exactly ``view``, default values written out and nothing foreign in it."""
    values = view.values()
    read, notes = parse([view.field(name) for name in values], query)
    return read == values and not notes and query.keys() <= values.keys()


def _issue(query: dict[str, str]) -> None:
    issued = st.session_state[STATE]["issued"]
    issued[address("", "", query)] = None
    while len(issued) > ISSUED:
        issued.pop(next(iter(issued)))


def _foreign(query: dict[str, str]) -> bool:
    """Whether a query comes from outside, not from this visitor's own menu.

    The menu's links lag behind: a prompt typed and left for a menu link arrives first, the link's older query after it.
    """
    return bool(query) and address("", "", query) not in st.session_state[STATE]["issued"]
