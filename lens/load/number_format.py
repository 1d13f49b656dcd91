"""In which number format the app opens its models. Imports no torch: a wrong one is said before anything starts."""

import os

VARIABLE = "LENS_DTYPE"
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}  # of one number
DIGITS = {"bfloat16": "8 binary digits, about 1 part in 250", "float16": "11 binary digits, about 1 part in 2,000"}


def number_format() -> str:
    """$LENS_DTYPE, float32 without it; ValueError for a name that is no format for the app's models."""
    name = os.environ.get(VARIABLE, "").strip() or "float32"
    if name not in BYTES:
        raise ValueError(f"{VARIABLE}={name!r} is no format that the app opens models in; use {', '.join(BYTES)}.")
    return name


def rounding_words(dtype: object) -> str:
    """What a figure of a model in this format must say; "" in float32 and finer."""
    name = str(dtype).removeprefix("torch.")
    if name not in DIGITS:
        return ""
    return f"Computed in {name}: every weight and activation is rounded to {DIGITS[name]}."
