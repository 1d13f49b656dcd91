"""Slow work for the tests of waiting and cancelling."""

import time


def slow(steps: int, progress) -> int:
    for step in range(steps):
        progress(step / steps, f"step {step} of {steps}")
        time.sleep(0.1)
    return steps


def nap(cell: int) -> int:
    time.sleep(0.1)
    return cell
