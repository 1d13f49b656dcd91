"""``transformer_lens.loading_from_pretrained``: names, checkpoints, and the flags of ``from_pretrained``."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch

import lens.process as process_module
from lens.compat.config import APPLIED
from lens.config import Config
from lens.hooked import HookedTransformer as Plain
from lens.load.catalogue import entries, resolve
from lens.load.device import pick_device, pick_dtype
from lens.load.entries import Start
from lens.load.tokenizer import bos_policy, end_ids, kept_policy, read_tokenizer

STEPS = {  # flag of from_pretrained → function of lens.process, in the order in which they are done
    "fold_ln": "fold_layer_norm",
    "center_writing_weights": "center_writing_weights",
    "center_unembed": "center_unembed",
    "fold_value_biases": "fold_value_biases",
    "refactor_factored_attn_matrices": "refactor_factored_attn_matrices",
}
POSITIONAL = [  # the order of from_pretrained's arguments after the name
    "fold_ln",
    "center_writing_weights",
    "center_unembed",
    "refactor_factored_attn_matrices",
    "checkpoint_index",
    "checkpoint_value",
    "hf_model",
    "device",
    "n_devices",
    "tokenizer",
    "move_to_device",
    "fold_value_biases",
    "default_prepend_bos",
    "default_padding_side",
    "dtype",
]
FURTHER = ("revision", "torch_dtype", "ignore")  # arguments by name only
LABEL_TYPES = {"tokens": "token", "steps": "step"}  # what labels of checkpoints count → the classic word for it
REFUSED = {  # what from_pretrained does not take, and what to do instead
    "first_n_layers": "Use stop_at_layer in the forward pass.",
    "n_ctx": "Give shorter texts.",
    "cache_dir": "Set the environment variable HF_HOME before Python starts.",
    "trust_remote_code": "Lens runs no code that comes with a model.",
    "load_in_4bit": "Lens computes in float32, float16 or bfloat16.",
}


def why_inexact(cfg: Config, step: str) -> str | None:
    """Why the step of this flag would change the probabilities of such a model; None if it would not."""
    return process_module.why_inexact(cfg, STEPS[step])


class Processed(NamedTuple):
    """A model after processing; for each step "applied", or why it was not."""

    model: Plain
    report: dict[str, str]


def process(model: Plain, **flags: bool | None) -> Processed:
    """The steps that the flags ask for: True, False, or None for where it is exact (refactoring: only if True)."""
    unknown = set(flags) - set(STEPS)
    if unknown:
        raise ValueError(f"Unknown processing step {', '.join(sorted(unknown))}; there are {', '.join(STEPS)}.")
    report = {}
    for step, function in STEPS.items():
        wanted = flags.get(step, False if step == "refactor_factored_attn_matrices" else None)
        reason = why_inexact(model.cfg, step)
        if wanted and reason and _has_exact_half(model.cfg, step):
            model = process_module.refactor_values_and_outputs(model)
            report[step] = f"done for values and outputs (OV), left out for queries and keys (QK), because {reason}"
            continue
        if wanted and reason:
            raise ValueError(f"{step}=True: not exact for {model.name}, because {reason}. Leave it out, or False.")
        if wanted is False or reason:
            report[step] = reason or "not asked for"
            continue
        apply: Callable[[Plain], Plain] = getattr(process_module, function)
        model, report[step] = apply(model), APPLIED
    return Processed(model, report)


def _has_exact_half(cfg: Config, step: str) -> bool:
    """Whether the OV part of a step is exact where its QK part is not."""
    if step != "refactor_factored_attn_matrices":
        return False
    return process_module.why_inexact(cfg, "refactor_values_and_outputs") is None


def plain(model: Plain) -> Plain:
    """The same weights as a model of Lens's own class."""
    cfg = Config(**{field.name: getattr(model.cfg, field.name) for field in fields(Config)})
    made = Plain.from_state(cfg, model.state_dict(), tokenizer=model.tokenizer, bos=model.bos, name=model.name)
    made.revision, made.note, made.end_ids, made.ignored = model.revision, model.note, model.end_ids, model.ignored
    return made.train(model.training)


def from_pretrained(cls: type, model_name: str, *args: Any, **flags: Any) -> Any:
    """``cls.from_pretrained``; see :meth:`lens.compat.transformer.HookedTransformer.from_pretrained`."""
    given = _arguments(args, flags)
    names = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")
    steps = {name: given.pop(name) for name in (*names, "refactor_factored_attn_matrices") if name in given}
    default_prepend_bos = given.pop("default_prepend_bos", None)
    side = given.pop("default_padding_side", "right")
    asked = {name: given[name] for name in ("checkpoint_index", "checkpoint_value") if given.get(name) is not None}
    raw = _read(model_name, asked, given)
    done = process(raw, **steps) if any(steps.get(name) is not False for name in names) or any(steps.values()) else None
    report = done.report if done else dict.fromkeys(STEPS, "not asked for")
    for step, said in report.items():
        if said.startswith("done for"):
            print(f"{step}: {said}.")  # noqa: T201
    model = cls.of(
        done.model if done else raw,
        processing=report,
        default_prepend_bos=raw.bos.prepend if default_prepend_bos is None else default_prepend_bos,
        **_checkpoint_settings(raw, asked),
    )
    model.default_padding_side = side
    return model


def _checkpoint_settings(raw: Plain, asked: dict[str, int]) -> dict[str, Any]:
    """What cfg says of the checkpoint that was asked for: index as it was given, label, and what the label counts."""
    if not asked:
        return {"from_checkpoint": False}
    one = raw.checkpoint
    return {
        "from_checkpoint": True,
        "checkpoint_index": asked.get("checkpoint_index", one.index),
        "checkpoint_value": one.label,
        "checkpoint_label_type": LABEL_TYPES[raw.checkpoints.unit],
    }


def _arguments(args: tuple, flags: dict[str, Any]) -> dict[str, Any]:
    given = dict(zip(POSITIONAL, args, strict=False)) | flags
    for name in given:
        if name in REFUSED and given[name] not in (None, False):
            raise ValueError(f"from_pretrained: Lens does not take {name}. {REFUSED[name]}")
        if name not in (*POSITIONAL, *FURTHER, *REFUSED):
            raise ValueError(f"from_pretrained has no argument {name!r}. It has {', '.join((*POSITIONAL, *FURTHER))}.")
    if given.get("n_devices", 1) != 1:
        raise ValueError(
            f"from_pretrained: n_devices={given['n_devices']}; a classic model is on one device. "
            "lens.HookedTransformer.from_pretrained(..., device_map='auto') spreads one over several."
        )
    if "torch_dtype" in given:
        given["dtype"] = given.pop("torch_dtype")
    return given


def _read(model_name: str, checkpoint: dict[str, int], given: dict[str, Any]) -> Plain:
    hf_model, tokenizer = given.get("hf_model"), given.get("tokenizer")
    how = {"device": given.get("device"), "dtype": pick_dtype(given.get("dtype")), "ignore": given.get("ignore", ())}
    if hf_model is not None:
        return _from_memory(model_name, hf_model, tokenizer, **how)
    raw = Plain.from_pretrained(model_name, revision=given.get("revision"), **how, **checkpoint)
    if tokenizer is not None:
        raw.tokenizer, raw.bos = tokenizer, kept_policy(raw.bos, tokenizer)
    return raw


def _from_memory(
    name: str, hf_model: Any, tokenizer: Any, device: Any, dtype: torch.dtype, ignore: Sequence[str]
) -> Plain:
    """A model of transformers that is open already; its tensors are copied, and an adapter of it is merged."""
    from lens.families import convert, structure_of
    from lens.load.adapter import merged_in_memory

    hf_model, adapter_note = merged_in_memory(hf_model)
    tensors = {key: x.detach().clone() for key, x in hf_model.state_dict().items()}
    config = hf_model.config.to_dict()
    family, cfg, note = structure_of(config, tensors, ignore)
    where = pick_device(device)
    state = {key: x.to(where, dtype) for key, x in convert(family, cfg, tensors).items()}
    if tokenizer is None and hf_model.name_or_path:
        tokenizer = tokenizer_of(hf_model.name_or_path)
    known = next((entry for entry in entries() if name.lower() in map(str.lower, entry.names)), None)
    start = known.start if known and tokenizer and known.start and _fits(known.start, tokenizer) else None
    made = Plain.from_state(cfg, state, tokenizer=tokenizer, bos=bos_policy(start, tokenizer), name=name).eval()
    generation = hf_model.generation_config  # None for a model that transformers does not write with
    made.end_ids = end_ids(config.get("eos_token_id"), generation and generation.eos_token_id)
    made.note, made.ignored = " ".join(filter(None, (adapter_note, note))), tuple(ignore)
    return made


def _fits(start: Start, tokenizer: Any) -> bool:
    token = start.token or tokenizer.bos_token
    return token in tokenizer.get_vocab() or (token is None and not start.prepend)


def tokenizer_of(name: str) -> Any:
    """The tokenizer of a Hub repository or folder, None for a folder without one. Code that comes with it is not run.

    A model that was made in memory, or saved without its tokenizer, reads token ids.
    """
    if Path(name).is_dir():
        return read_tokenizer(Path(name), {})
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name, trust_remote_code=False)


def get_official_model_name(model_name: str) -> str:
    """The Hub id that a short name means; for a model of this machine, the name itself."""
    return resolve(model_name).hub_id or model_name


def get_checkpoint_labels(model_name: str, **kwargs: Any) -> tuple[list[int], str]:
    """The labels of a model's training checkpoints, and what they count: "token" or "step"."""
    from lens.load.checkpoints import checkpoints

    found = checkpoints(model_name, **kwargs)
    return list(found.labels), LABEL_TYPES[found.unit]


def get_pretrained_model_config(model_name: str, **kwargs: Any) -> Any:
    """The classic config of a model, read with its weights."""
    from lens.compat.transformer import HookedTransformer

    return HookedTransformer.from_pretrained_no_processing(model_name, **kwargs).cfg


OFFICIAL_MODEL_NAMES = [entry.hub_id or entry.alias for entry in entries()]
DEFAULT_MODEL_ALIASES = [entry.alias for entry in entries()]
MODEL_ALIASES = {entry.hub_id or entry.alias: list(entry.names) for entry in entries()}
