"""Whether two texts share a passage: exact, by hashes of every window of 50 characters."""

import numpy as np

WINDOW = 50  # characters, with all white space as one space
BASE = np.uint64(1_000_003)


def window_hashes(text: str) -> np.ndarray:
    """The hash of every window of ``text``, uint64. Two texts share a window if they share a hash, but for 1 in 10⁵."""
    letters = np.frombuffer(" ".join(text.split()).encode("utf-32-le"), np.uint32).astype(np.uint64)
    if len(letters) < WINDOW:
        return np.empty(0, np.uint64)
    count = len(letters) - WINDOW + 1
    hashes = np.zeros(count, np.uint64)
    for place in range(WINDOW):
        hashes *= BASE
        hashes += letters[place : place + count]
    return hashes ^ (hashes >> np.uint64(29))


def found_in(hashes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of ``hashes`` are among ``known``, which is sorted (``np.isin`` would sort it again for every document)."""
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return known[places] == hashes


def shared_windows(train: str, held_out: str) -> int:
    """How many windows of ``train`` also stand in ``held_out``."""
    return int(found_in(window_hashes(train), np.unique(window_hashes(held_out))).sum())


def without_overlap(texts: list[str], held_out: str) -> tuple[list[str], int]:
    """``texts`` without the paragraphs that share a window with ``held_out``, and how many those were.

    A text none of whose windows is shared stays as it is, so only quotations cost a search.
    """
    known, kept, dropped = np.unique(window_hashes(held_out)), [], 0
    for text in texts:
        if found_in(window_hashes(text), known).any():
            parts = text.split("\n\n")
            clean = [part for part in parts if not found_in(window_hashes(part), known).any()]
            dropped += len(parts) - len(clean)
            text = "\n\n".join(clean)
            if found_in(window_hashes(text), known).any():  # the shared passage runs over an empty line
                text, dropped = "", dropped + len(clean)
        kept.append(text)
    return kept, dropped
