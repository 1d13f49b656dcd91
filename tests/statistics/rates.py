"""How often a rule may speak where there is nothing to find, and how often it must where there is."""

from scipy.stats import binom

NOMINAL = 0.05


def most_allowed(n: int, nominal: float = NOMINAL) -> int:
    """The largest count out of ``n`` that a rule with this nominal rate reaches in 99% of cases."""
    return int(binom.ppf(0.99, n, nominal))


def check_rate(fired: list[bool], nominal: float = NOMINAL) -> None:
    """AssertionError where a verdict was given more often than its nominal rate allows (binomial 99% bound)."""
    n, count = len(fired), sum(fired)
    assert n >= 40, f"{n} models are too few to tell a rate of {nominal:.0%}"
    assert count <= most_allowed(n, nominal), (
        f"{count} of {n} ({count / n:.0%}); at most {most_allowed(n, nominal)} at a nominal {nominal:.0%}"
    )


def check_coverage(covered: list[bool], least: float = 0.93) -> None:
    """AssertionError where intervals hold the truth less often than ``least``, beyond what chance explains (99%)."""
    n, count = len(covered), sum(covered)
    lowest = int(binom.ppf(0.01, n, least))
    assert count >= lowest, f"{count} of {n} ({count / n:.1%}) hold the truth; at least {lowest} at {least:.0%}"
