"""Streamlit widgets bound to a field of the view: seeded from it before they are drawn, writing back on change.

Every widget has a label and a help text that says what the value means; Streamlit drops widget state when the page
changes, the view does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from lens.analysis.names import Head
from lens.ui.fields import BadValue
from lens.ui.view import ViewState, say_next_run

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

Result = TypeVar("Result")  # of the function that draws a tab
Tabs = Mapping[str, tuple[str, Callable[..., Result]]]  # value of the field -> (label, what draws the tab)
TURNS = "widget-turns"  # how often the value of each field was changed behind its widget's back


LABELS = "widget-labels"  # how the choices of each field were written when its widget was last drawn


def bind(view: ViewState, name: str, value: Any = None, write: Callable[[str], None] | None = None) -> dict[str, Any]:
    """The ``key``, ``on_change`` and ``args`` that tie a widget to field ``name``; seeds it with the view's value.

    Pass ``value`` when the widget holds another form of it than the view does, and ``write(key)`` to translate what is
    chosen back. Give the widget its value as its own default too: where one run interrupts another, a browser may miss
    the seed.
    """
    value = view[name] if value is None else value
    key = _current_key(name, value)
    if view.arrived or key not in st.session_state:
        st.session_state[key] = value  # not at every run: that would wipe out what is being typed
    return {"key": key, "on_change": _changed, "args": (name, key, write or partial(_write_back, view, name))}


def _current_key(name: str, value: Any) -> str:
    """The key of the widget of field ``name`` that is to show ``value``: a new one if the old one shows another.

    A value that did not come from the widget itself (a click in a figure, a preset) gets a widget of its own. A browser
    that has not drawn it yet answers the next click with the old widget's value, which would otherwise look like a
    choice and undo the change.
    """
    turns = st.session_state.setdefault(TURNS, {})
    if st.session_state.get(_key(name), value) != value:
        turns[name] = turns.get(name, 0) + 1
    return _key(name)


def _key(name: str) -> str:
    turn = st.session_state[TURNS].get(name, 0)
    return f"view:{name}" + (f":{turn}" if turn else "")


def _changed(name: str, key: str, write: Callable[[str], None]) -> None:
    if key == _key(name):
        write(key)


def _write_back(view: ViewState, name: str, key: str) -> None:
    """The widget's value into the view; what its field cuts is cut, and said."""
    try:
        view.set(**{name: st.session_state[key]})
    except BadValue as bad:
        if bad.use is None:
            raise
        view.set(**{name: bad.use})
        say_next_run(str(bad))


def _relabel(name: str, options: Sequence[str], format_func: Callable[[str], str] = str, **_: Any) -> None:
    """A new widget where the same choices are written in other words: a browser keeps the words of the old one."""
    labels, written = st.session_state.setdefault(LABELS, {}), {option: format_func(option) for option in options}
    before = labels.get(name, {})
    if any(before.get(option, text) != text for option, text in written.items()):
        turns = st.session_state.setdefault(TURNS, {})
        turns[name] = turns.get(name, 0) + 1
    labels[name] = before | written


def select(view: ViewState, name: str, options: Sequence[str], label: str, help: str, **rest: Any) -> str:
    """A drop-down list of ``options``; a value that is not among them becomes the first, with a note."""
    view.one_of(name, options)
    _relabel(name, options, **rest)
    return st.selectbox(label, options, options.index(view[name]), help=help, **bind(view, name), **rest)


def segmented(view: ViewState, name: str, options: Sequence[str], label: str, help: str, **rest: Any) -> str:
    """A row of a few ``options``, one of which is always chosen."""
    view.one_of(name, options)
    _relabel(name, options, **rest)
    seed = bind(view, name) | {"default": view[name]}
    chosen = st.segmented_control(label, options, help=help, required=True, **seed, **rest)
    return chosen or view[name]


def slider(view: ViewState, name: str, bounds: tuple[float, float], label: str, help: str, **rest: Any) -> float:
    """A slider over ``bounds``; when both ends are equal there is nothing to choose and none is drawn."""
    value = view.within(name, *bounds)
    if bounds[0] == bounds[1]:
        return value
    return st.slider(label, *bounds, value, help=help, **bind(view, name), **rest)


def number(view: ViewState, name: str, bounds: tuple[float, float], label: str, help: str, **rest: Any) -> float:
    """A number box over ``bounds``."""
    value = view.within(name, *bounds)
    return st.number_input(label, *bounds, value, help=help, **bind(view, name), **rest)


def toggle(view: ViewState, name: str, label: str, help: str, **rest: Any) -> bool:
    """An on/off switch."""
    return st.toggle(label, view[name], help=help, **bind(view, name), **rest)


def text_area(view: ViewState, name: str, label: str, help: str, **rest: Any) -> str:
    """A box for text. What is longer than its field allows is cut, with a sentence: a browser that knows the limit
    refuses to paste a longer text and says nothing."""
    return st.text_area(label, view[name], help=help, **bind(view, name), **rest)


def text_line(view: ViewState, name: str, label: str, help: str, **rest: Any) -> str:
    """One line for text, spaces at its ends kept; cut like that of ``text_area``."""
    return st.text_input(label, view[name], help=help, **bind(view, name), **rest)


def show_tabs(view: ViewState, name: str, tabs: Tabs[Result], *args: object) -> Result:
    """A row of tabs for a choice field; only the open one's function is called, with ``args``; returns its result.

    ``tabs`` holds, for each value of the field, the label and the function that draws.
    """
    labels = {value: label for value, (label, _) in tabs.items()}
    by_label = {label: value for value, label in labels.items()}

    def write(key: str) -> None:
        view.set(**{name: by_label[st.session_state[key]]})

    seed = bind(view, name, labels[view.one_of(name, list(labels))], write)
    containers = st.tabs(list(by_label), **seed)
    opened = view[name]
    with containers[list(labels).index(opened)]:
        return tabs[opened][1](*args)


def fold(view: ViewState, name: str, label: str) -> DeltaGenerator:
    """A folded section tied to a flag field. Run its body only ``if box.open``: a closed one should cost nothing."""
    return st.expander(label, **bind(view, name))


def head_picker(view: ViewState, n_layers: int, n_heads: int) -> Head:
    """Two number boxes for the current head."""
    with st.container(horizontal=True, width="content"):
        layer = number(view, "layer", (0, n_layers - 1), "Layer", "Zero-based layer of the head.", width=130)
        head = number(view, "head", (0, n_heads - 1), "Head", "Zero-based index within its layer.", width=130)
    return Head(int(layer), int(head))


def button(label: str, help: str, act: Callable[..., None], *args: object, **rest: Any) -> bool:
    """A button that calls ``act(*args)`` before the page runs again."""
    return st.button(label, help=help, on_click=act, args=args, **rest)
