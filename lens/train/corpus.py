"""The text that the shipped models read: fetched by package name, cleaned, cut into documents, checked for overlap.

``python -m lens.train corpus FOLDER`` needs ``apt-get`` and ``dpkg-deb``, and writes ``train.jsonl``,
``held_out.txt`` and ``corpus.json`` (sizes and hashes) there.
"""

import csv
import hashlib
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lens.load.entries import ASSETS
from lens.texts import SHORTEST, chapters, held_out, unwrapped
from lens.train.overlap import shared_windows, without_overlap
from lens.train.readers import READERS

TABLE = ASSETS / "corpus.csv"
HELD_OUT_NOVEL = "persuasion"  # the novel of the Austen package that is never trained on
REPEATED_LINES = 20  # a longer line that stands in more documents of a source than this is a menu or a licence


class Source(NamedTuple):
    """One row of ``assets/corpus.csv``. ``megabytes``: how much of it is taken, None for all."""

    name: str
    package: str
    version: str
    licence: str
    kind: str
    reader: str
    files: str
    megabytes: float | None


class Document(NamedTuple):
    """One document of one source."""

    source: str
    kind: str
    text: str


def sources() -> list[Source]:
    """The packages that the text comes from, with their licences."""
    with TABLE.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    return [Source(**row | {"megabytes": float(row["megabytes"]) if row["megabytes"] else None}) for row in rows]


def fetch(source: Source, folder: Path) -> Path:
    """The files of a Debian package, downloaded by name if they are not in ``folder``; nothing of it is run."""
    target = folder / source.package
    if target.is_dir():
        return target
    packed = folder / "packed" / source.package
    packed.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", f"{source.package}={source.version}"], packed)
    _run(["dpkg-deb", "-x", str(next(packed.glob("*.deb"))), str(target)], packed)
    return target


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")


def documents(source: Source, folder: Path) -> Iterator[Document]:
    """The cleaned documents of a source, in an order that depends on their names alone, up to its share."""
    root = fetch(source, folder)
    files = sorted(path for path in root.glob(source.files) if path.is_file() and not path.is_symlink())
    if not files:
        raise ValueError(f"{source.package} {source.version} has no files {source.files}; the package has changed.")
    if source.megabytes is not None:  # a part of it: an even choice rather than the first letters of the alphabet
        files.sort(key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
    left = float("inf") if source.megabytes is None else source.megabytes * 1e6
    texts = [text for file in files for text in READERS[source.reader](file)]
    for text in drop_menus([clean(text, unwrap=source.reader == "rdb" or source.kind == "held out") for text in texts]):
        if len(text) >= SHORTEST and left > 0:
            left -= len(text)
            yield Document(source.name, source.kind, text)


def clean(text: str, unwrap: bool) -> str:
    """One kind of line end and of space, at most one empty line; ``unwrap`` joins the lines of a paragraph."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ").replace("\f", "\n").expandtabs(4)
    text = "".join(c for c in text if c == "\n" or c >= " ")
    text = re.sub(r"[ ]+\n", "\n", text)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return unwrapped(text) if unwrap else text


def drop_menus(texts: list[str]) -> list[str]:
    """``texts`` without the lines that many of them share: headers, licences and links of every page."""
    seen = Counter(line for text in texts for line in {line for line in text.splitlines() if len(line) > 20})
    menus = {line for line, count in seen.items() if count > REPEATED_LINES}
    return ["\n".join(line for line in text.splitlines() if line not in menus) for text in texts]


def build(folder: Path) -> dict:
    """Write the training text and the held-out text, and return (and write) what they are made of."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [one for source in sources() for one in documents(source, folder / "packages")]
    novels = [one.text for one in found if is_held_out(one)]
    (folder / "held_out.txt").write_text("\f".join(chapter for text in novels for chapter in chapters(text)), "utf-8")
    train = [one for one in found if not is_held_out(one)]
    unseen = "\n".join(held_out())
    kept, dropped = without_overlap([one.text for one in train], unseen)
    train = [one._replace(text=text) for one, text in zip(train, kept, strict=True) if len(text) >= SHORTEST]
    lines = "".join(json.dumps(one._asdict(), ensure_ascii=False) + "\n" for one in train)
    (folder / "train.jsonl").write_text(lines, "utf-8")
    sizes = Counter()
    for one in train:
        sizes[one.source] += len(one.text)
    about = {
        "characters": dict(sizes),
        "documents": len(train),
        "code_share": sum(len(one.text) for one in train if one.kind == "code") / sizes.total(),
        "train_sha256": hashlib.sha256(lines.encode()).hexdigest(),
        "held_out_sha256": hashlib.sha256((folder / "held_out.txt").read_bytes()).hexdigest(),
        "overlapping_paragraphs_dropped": dropped,
        "shared_windows_of_50_characters": shared_windows("\n".join(one.text for one in train), unseen),
    }
    (folder / "corpus.json").write_text(json.dumps(about, indent=1), "utf-8")
    return about


def is_held_out(one: Document) -> bool:
    """Whether a document is kept for evaluation: its source is, or it is the one novel."""
    return one.kind == "held out" or (one.source == "austen" and one.text.lower().startswith(HELD_OUT_NOVEL))
