"""What was used last stays, within its bounds."""

from lens.figures.recent import Recent


def test_the_least_recently_used_goes_first():
    kept = Recent(2, 100, len)
    kept.put("a", "x")
    kept.put("b", "x")
    assert kept.get("a") == "x"
    kept.put("c", "x")
    assert list(kept) == ["a", "c"]
    assert kept.get("b") is None


def test_sizes_count_together_and_the_newest_stays_however_large():
    kept = Recent(9, 4, len)
    for key, value in (("a", "xx"), ("b", "xx"), ("a", "x"), ("c", "x")):
        assert kept.put(key, value) is value
    assert list(kept) == ["b", "a", "c"]
    kept.put("d", "xxxxxxxx")
    assert list(kept) == ["d"]
    assert len(kept) == 1
