"""From the files of a package to plain text, one string a document."""

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

BLOCKS = {"p", "div", "br", "li", "tr", "pre", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "table", "blockquote"}
SILENT = {"script", "style", "nav", "head", "svg", "form"}
# R writes a character string as flags, length, bytes; 0x00040009 is a CHARSXP in UTF-8 or ASCII.
R_STRING = re.compile(rb"\x00[\x00\x04]\x00\x09(....)", re.DOTALL)


def plain(file: Path) -> Iterator[str]:
    """A text file as it stands."""
    yield file.read_bytes().decode("utf-8", "ignore")


def dictd(file: Path) -> Iterator[str]:
    """The entries of a dictionary, in their order, as one document."""
    yield gzip.decompress(file.read_bytes()).decode("utf-8", "ignore")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.silent += tag in SILENT
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.silent = max(0, self.silent - (tag in SILENT))
        if tag in BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.parts.append(data)


def html(file: Path) -> Iterator[str]:
    """What a page says, a block a line, without its scripts and menus."""
    parser = _Text()
    parser.feed(file.read_bytes().decode("utf-8", "ignore"))
    parser.close()
    yield "".join(parser.parts)


def sword(file: Path) -> Iterator[str]:
    """The compressed blocks of a SWORD module (a book or a chapter each), without their markup."""
    index = file.with_suffix(file.suffix[:-1] + "s").read_bytes()
    data = file.read_bytes()
    for start, size, _ in struct.iter_unpack("<3I", index):
        text = zlib.decompress(data[start : start + size]).decode("utf-8", "ignore")
        text = re.sub(r"<note\b.*?</note>", "", text, flags=re.DOTALL)
        text = re.sub(r"<(/?p|/?div|br|lb|/?l|/?lg|milestone|/?title|chapter|/?verse)\b[^>]*>", "\n", text)
        yield unescape(re.sub(r"<[^>]*>", "", text))


def rdb(file: Path) -> Iterator[str]:
    """The character vectors of an R lazy-load database, each as one document of lines."""
    rest = file.read_bytes()
    while rest:
        stream = zlib.decompressobj()
        lines = _r_strings(stream.decompress(rest[4:]))  # the first four bytes are the length that comes out
        rest = stream.unused_data
        if len(lines) > 1000:  # the others are indexes of the database
            yield "\n".join(lines)


def _r_strings(data: bytes) -> list[str]:
    lines, place = [], 0
    while (found := R_STRING.search(data, place)) is not None:
        place = found.end() + struct.unpack(">I", found[1])[0]
        lines.append(data[found.end() : place].decode("utf-8", "ignore"))
    return lines


READERS: dict[str, Callable[[Path], Iterator[str]]] = {
    "plain": plain,
    "dictd": dictd,
    "html": html,
    "sword": sword,
    "rdb": rdb,
}
