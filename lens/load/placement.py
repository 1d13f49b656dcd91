"""Which part of a model goes to which device, for models that are larger than one.

The units are the blocks, what reads tokens (``embed``, ``pos_embed``) and what writes logits (``ln_final``,
``unembed``). A stream moves to a block's device when it enters it.
"""

import importlib.util
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from lens.config import Config
from lens.load.device import pick_device
from lens.model import Transformer

DeviceMap = str | Mapping[str, int | str | torch.device]
AUTO = ("auto", "balanced", "balanced_low_0", "sequential")  # as accelerate and transformers name them
MISSING = (
    "device_map={!r} needs the package accelerate, which decides what fits where. Run: pip install accelerate. "
    "Without it, give a map such as {{'embed': 0, 'blocks.0': 0, 'blocks.1': 1, …}}, or device= for a single one."
)


def units(cfg: Config) -> list[tuple[str, ...]]:
    """The parts of a model that stay on one device, first to last; W_E and a W_U in the same memory stay together."""
    ends = ("embed", "pos_embed") if cfg.positions in ("learned", "shortformer") else ("embed",)
    blocks = [(f"blocks.{layer}",) for layer in range(cfg.n_layers)]
    last = ("unembed", "ln_final")
    return [(*ends, *last), *blocks] if cfg.tied else [ends, *blocks, last]


def place(
    cfg: Config, device_map: DeviceMap, dtype: torch.dtype, max_memory: Mapping[int | str, int | str] | None = None
) -> dict[str, torch.device]:
    """Device of every part of :func:`units`, from a map or from the memory there is.

    ``device_map``: "auto" (or another of accelerate's ways), one device's name, or part → device, where a name stands
    for all that is inside it ("blocks", "blocks.3", "" for everything). ``max_memory``: bytes (or "10GB") of each
    device, 0, 1, … and "cpu", that "auto" may use; by default what is free. ValueError names what is wrong in a map.
    """
    if isinstance(device_map, str):
        wanted = _inferred(cfg, device_map, dtype, max_memory) if device_map in AUTO else {"": device_map}
    else:
        wanted = device_map
    found = {}
    for unit in units(cfg):
        devices = {name: _device_of(name, wanted) for name in unit}
        first = devices[unit[0]]
        if isinstance(device_map, Mapping) and set(devices.values()) != {first}:
            raise ValueError(
                f"device_map puts {', '.join(f'{name} on {device}' for name, device in devices.items())}; "
                "these stay together on one device in this model."
            )
        found |= dict.fromkeys(unit, first)
    unknown = [name for name in wanted if not any(_inside(one, name) or _inside(name, one) for one in found)]
    if isinstance(device_map, Mapping) and unknown:
        raise ValueError(f"device_map names {', '.join(unknown)}, which this model has not. It has {', '.join(found)}.")
    return found


def moved(name: str, tensor: Tensor, devices: Mapping[str, torch.device]) -> Tensor:
    """A parameter on the device of the part that it belongs to."""
    return tensor.to(devices[re.match(r"blocks\.\d+|\w+", name)[0]])


def _inferred(cfg: Config, how: str, dtype: torch.dtype, max_memory: Mapping | None) -> Mapping[str, int | str]:
    if importlib.util.find_spec("accelerate") is None:
        raise ImportError(MISSING.format(how))
    from accelerate import infer_auto_device_map
    from accelerate.utils import get_balanced_memory

    with torch.device("meta"):
        skeleton = Transformer(cfg)
    whole = {"no_split_module_classes": ["Block"], "dtype": dtype}
    memory = dict(max_memory) if max_memory is not None else None
    if how != "sequential":
        memory = get_balanced_memory(skeleton, memory, low_zero=how == "balanced_low_0", **whole)
    found = infer_auto_device_map(skeleton, memory, **whole)
    if "disk" in found.values():
        raise ValueError(
            f"This model does not fit into the memory of all devices in {str(dtype).removeprefix('torch.')}. "
            "Give a smaller dtype, such as bfloat16, or use a machine with more memory."
        )
    return found


def _device_of(name: str, wanted: Mapping[str, int | str | torch.device]) -> torch.device:
    for key in sorted(wanted, key=len, reverse=True):  # the narrowest name counts
        if _inside(name, key):
            return pick_device(f"cuda:{wanted[key]}" if isinstance(wanted[key], int) else wanted[key])
    raise ValueError(f"device_map says nothing of {name}. Name it, or give '' for all that is not named.")


def _inside(name: str, key: str) -> bool:
    return key == "" or name == key or name.startswith(f"{key}.")
