"""How much memory there is for weights."""

import os
import re
from pathlib import Path
from typing import Any

CONTAINER = Path("/sys/fs/cgroup/memory.max")
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SHARE = 0.5  # the rest is for activations, results and everybody else


def free_bytes() -> int:
    """Bytes of memory that programs can still have, at most what the container of this process may use."""
    import psutil

    limit = CONTAINER.read_text("ascii").strip() if CONTAINER.is_file() else "max"
    free = psutil.virtual_memory().available
    return free if limit == "max" else min(free, int(limit))


def budget_bytes(device: Any = None) -> int:
    """Bytes for the weights of all open models: $LENS_MODEL_MEMORY ("6GB", "800 MB", a number), else half of what is.

    On a GPU, half of that GPU's memory. ValueError if the variable is no amount of memory.
    """
    text = os.environ.get("LENS_MODEL_MEMORY", "").strip()
    if text:
        return read_bytes(text)
    if device is not None and device.type == "cuda":
        import torch

        return int(SHARE * torch.cuda.get_device_properties(device).total_memory)
    return int(SHARE * free_bytes())


def read_bytes(text: str) -> int:
    """Bytes from "6GB", "1.5 gb", "800M" or "2000000000"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise ValueError(f"LENS_MODEL_MEMORY={text!r} is no amount of memory. Write it like 6GB, 800MB or 2000000000.")
    return int(float(match[1]) * UNITS[match[2]])
