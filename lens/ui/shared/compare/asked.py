"""Whether a visitor compares, with what, and how to stop. Imports no torch: the frame draws it."""

from typing import TYPE_CHECKING

from lens.ui.fields import LOCAL, checkpoint_name
from lens.ui.widgets import button

if TYPE_CHECKING:
    from lens.ui.view import ViewState

STOP_HELP = "Leaves the second model and the second prompt out, on every page."


def is_asked(view: "ViewState", reads_prompt: bool = True) -> bool:
    """Whether anything stands beside; ``reads_prompt``: whether a second prompt counts."""
    return bool(view["with_model"] or (reads_prompt and view["with_prompt"].strip()))


def called(name: str) -> str:
    """A model as people call it, its checkpoint by the name of its file: "lens-2l@tokens_000001433600"."""
    model, at, revision = name.removeprefix(LOCAL).partition("@")
    return model + at + checkpoint_name(revision)


def stop_button(view: "ViewState", where: str) -> None:
    """The way back to one model and one prompt; nothing where nothing is compared."""
    if is_asked(view):
        icon = ":material/close:"
        button("Stop comparing", STOP_HELP, stop, view, key=f"compare:stop:{where}", icon=icon)


def stop(view: "ViewState") -> None:
    """Compare with nothing."""
    view.set(with_model=None, with_prompt=None)
