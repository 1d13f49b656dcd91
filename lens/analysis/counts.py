"""Counts as sentences write them: one is not "1 pairs", and a share of one is not a percentage."""


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
