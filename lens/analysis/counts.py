"""Counts as sentences write them: one is not "1 pairs", a share of one is not a percentage, and bytes have a unit."""


def counted(n: int, one: str, several: str = "") -> str:
    """ "1 pair", "3 pairs". ``several``: the plural of ``one``, where it does not end in s."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def share_of(n: int, total: int, what: str) -> str:
    """How many of ``total``: "the one prompt", "not the one prompt", "none of 3 prompts", "2 of 3 prompts",
    "all 3 prompts"."""
    if not 0 <= n <= total or total < 1:
        raise ValueError(f"share_of: {n} of {total} {what}s; wanted 0 … {total} of one or more.")
    if total == 1:
        return f"{'not ' * (not n)}the one {what}"
    if n == total:
        return f"all {counted(total, what)}"
    return f"{n or 'none'} of {counted(total, what)}"


def size(n_bytes: float) -> str:
    """Bytes as people say them: "85 MB", "1.2 GB"."""
    for unit, name, places in ((1e12, "TB", 1), (1e9, "GB", 1), (1e6, "MB", 0), (1e3, "kB", 0)):
        if n_bytes >= unit:
            return f"{n_bytes / unit:.{places}f} {name}"
    return f"{n_bytes:.0f} bytes"
