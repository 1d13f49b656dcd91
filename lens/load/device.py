"""Where the numbers live and in which format."""

import torch

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The device asked for, or the best one here: CUDA, then Apple's MPS, then the processor.

    ValueError if the device asked for does not exist on this machine.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name is None:
        return torch.device(next(kind for kind, here in present.items() if here))
    kind, _, number = str(name).partition(":")
    here = [kind for kind, is_here in present.items() if is_here]
    if kind not in here:
        raise ValueError(f"Device {str(name)!r} is not available; this machine has {', '.join(here)}.")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if number and not (number.isdecimal() and int(number) < count):
        raise ValueError(
            f"Device {str(name)!r} does not exist; this machine has {count} of kind {kind}, counted from 0."
        )
    return torch.device(str(name))


def pick_dtype(dtype: str | torch.dtype | None = None) -> torch.dtype:
    """The floating format asked for, by torch's object or its name; float32 by default."""
    if dtype is None:
        return torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise ValueError(f"dtype {name!r} is not a format for weights; use {', '.join(DTYPES)}.")
    return DTYPES[name]
