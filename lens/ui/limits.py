"""How much one visitor may ask for, at home and on a hosted Space. One table, read by every control."""

import os
from typing import NamedTuple


class Limits(NamedTuple):
    """Upper bounds of one request, at home unless said otherwise. Times in seconds, sizes in bytes, text in characters
    and tokens."""

    hosted: bool = False
    prompt_chars: int = 4000
    prompt_tokens: int = 1024
    text_tokens: int = 2048  # of a prompt on pages that do not draw a square of it
    sequences: int = 256
    block_length: int = 512  # n of a repeated random block; the sequence is 2 n + 1 tokens
    pins: int = 24
    checkpoints: int = 700
    max_params: int = 200_000_000_000  # parameters of the largest model that is offered
    results_kept: int = 8192
    results_bytes: int = 1_000_000_000
    written_tokens: int = 200  # in one continuation
    pairs: int = 128  # of prompts, in one intervention
    patched_rows: int = 400_000  # cells times pairs of one sweep
    cut_cells: int = 64  # of one attention pattern
    corpus_chars: int = 4_000_000  # of a pasted text that heads are read on
    vector_bytes: int = 2_000_000  # of a pasted or uploaded direction
    findings_bytes: int = 60_000_000  # that one visitor keeps, figures included
    staged_seed: int = 9999  # largest seed of models that are trained on request
    staged_steps: int = 1600  # of such a training
    ask_before: float = 5.0  # estimated seconds above which long work waits for a click


AT_HOME = Limits()
HOSTED = Limits(
    hosted=True,
    prompt_chars=1500,
    prompt_tokens=256,
    text_tokens=512,
    sequences=32,
    block_length=100,
    pins=12,
    checkpoints=64,
    max_params=1_600_000_000,
    results_bytes=500_000_000,
    written_tokens=60,
    pairs=16,
    patched_rows=20_000,
    cut_cells=16,
    corpus_chars=60_000,
    vector_bytes=500_000,
    findings_bytes=6_000_000,
    staged_seed=9,
    staged_steps=400,
)


def limits() -> Limits:
    """The bounds in force: the hosted row when the environment says ``LENS_HOSTED=1``."""
    return HOSTED if os.environ.get("LENS_HOSTED") == "1" else AT_HOME
