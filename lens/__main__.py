"""``lens`` and ``python -m lens``: what can be run from the command line."""

import sys

from lens import launch, scan, scores, selftest, showing
from lens.sweeps import command as sweeps


def deck(arguments: list[str]) -> int:
    """See ``lens.ui.pages.deck.check``; imported when it is asked for: it needs Streamlit."""
    from lens.ui.pages.deck.check import main as check

    return check(arguments)


COMMANDS = {
    "app": launch.main,
    "deck": deck,
    "selftest": selftest.main,
    "scores": scores.main,
    "scan": scan.main,
    "show": showing.main,
    "sweep": sweeps.main,
    "watch": showing.watch_main,
}


def main(arguments: list[str]) -> int:
    """Run the command that is named first; without one, say which there are."""
    if arguments and arguments[0] in COMMANDS:
        return COMMANDS[arguments[0]](arguments[1:])
    print(f"usage: lens {{{','.join(COMMANDS)}}} [--help]", file=sys.stderr)  # noqa: T201 - a command line
    return 2


def command() -> None:
    """The installed command ``lens``."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    command()
