"""The address of a view as a code for telephones."""

from functools import lru_cache

import segno
from segno.encoder import DataOverflowError


@lru_cache(maxsize=256)  # a page that goes on to the next slide draws those of all slides
def svg(link: str) -> str:
    """A QR code as SVG, dark on white; "" for an address that is longer than a code holds."""
    try:
        return segno.make(link, micro=False).svg_inline(scale=4, dark="#10151c", light="#ffffff")
    except DataOverflowError:
        return ""
