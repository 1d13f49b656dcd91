"""How much memory this machine has, and how much of it is for weights."""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

CONTAINER = Path("/sys/fs/cgroup")
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
SHARE = 0.5  # the rest is for activations, results and everybody else


class MachineMemory(NamedTuple):
    """Bytes of memory of this machine, or of the container that this process may use."""

    total: int
    available: int  # that can be taken without swapping


def machine_memory() -> MachineMemory:
    """What this machine has and what is free, or what its container leaves of that."""
    import psutil

    machine, limit = psutil.virtual_memory(), _container("memory.max")
    if limit is None or limit >= machine.total:
        return MachineMemory(machine.total, machine.available)
    return MachineMemory(limit, max(0, min(machine.available, limit - (_container("memory.current") or 0))))


def _container(name: str) -> int | None:
    file = CONTAINER / name
    text = file.read_text("ascii").strip() if file.is_file() else "max"
    return int(text) if text.isdigit() else None


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
    return int(SHARE * machine_memory().available)


def read_bytes(text: str) -> int:
    """Bytes from "6GB", "1.5 gb", "800M" or "2000000000"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip().upper())
    if match is None:
        raise ValueError(f"LENS_MODEL_MEMORY={text!r} is no amount of memory. Write it like 6GB, 800MB or 2000000000.")
    return int(float(match[1]) * UNITS[match[2]])
