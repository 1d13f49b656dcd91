"""The figures that are shipped for the first seconds of a server: they are what pages draw, and give way to it."""

import asyncio
import json

import numpy as np
import pytest

from lens.ui.first_paint import FOLDER, Painted, file_of, keep, kept
from lens.ui.menu import page_of
from tests.browser.conftest import streamlit_server
from tests.figures.test_drawn import read
from tests.first_paint import ROOT, addresses, painted_now
from tests.visitors import Place, View, digest, visitor

SHIPPED = [address for address in addresses() if file_of(address.page, address.query).is_file()]
ON_SMALL = {address.page.name: address for address in SHIPPED if "model" not in address.query}.values()
ON_REAL = [address for address in SHIPPED if "model" in address.query and address.page.name == "predictions"]


def close(one, other) -> bool:
    """Equal but for the last digits of numbers, which differ between processors."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        numbers = one.dtype.kind in "iuf" and other.dtype.kind in "iuf" and one.shape == other.shape
        return numbers and np.allclose(one, other, rtol=1e-3, atol=1e-4, equal_nan=True)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) and isinstance(other, (int, float)):
        return one == pytest.approx(other, rel=1e-3, abs=1e-4)
    return one == other


@pytest.mark.parametrize("address", [*ON_SMALL, *ON_REAL], ids=str)
def test_what_is_shipped_is_what_the_page_draws(address):
    shipped, now = kept(file_of(address.page, address.query)), painted_now(address)
    assert close(read(shipped.figure), read(json.loads(json.dumps(now.figure))))
    assert (shipped.alt, shipped.notice) == (now.alt, now.notice)


def test_nothing_is_shipped_that_no_address_opens():
    assert {file.name for file in FOLDER.glob("*.json.gz")} == {
        file_of(address.page, address.query).name for address in SHIPPED
    }


def test_a_kept_figure_comes_back_and_equal_ones_are_equal_files(tmp_path):
    painted = Painted({"data": [{"type": "bar", "y": [1.5, 2]}], "layout": {}}, "Two bars.", "The second is higher.")
    keep(painted, tmp_path / "one")
    keep(painted, tmp_path / "two")
    assert kept(tmp_path / "one") == painted
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_another_value_in_the_address_is_another_figure():
    page = page_of("Attention")
    names = {file_of(page, query).name for query in ({}, {"layer": "1"}, {"layer": "1", "head": "1"}, {"layer": "11"})}
    assert len(names) == 4


def test_a_server_that_has_just_started_shows_it_until_the_page_has_its_own():
    place = Place("ov_copying", (("layer", "1"), ("head", "1")))

    async def look(url: str) -> tuple[list[str], View]:
        async with visitor(url) as tab:
            charts = [
                message.delta.new_element.plotly_chart.spec
                async for message, _ in tab.messages(place)
                if message.delta.new_element.WhichOneof("type") == "plotly_chart"
            ]
            return charts, await tab.view(place)

    with streamlit_server(ROOT / "app.py", {}) as url:
        charts, after = asyncio.run(look(url))
    shipped = kept(file_of(page_of("OV copying"), dict(place.query))).figure
    assert json.loads(charts[0]) == shipped
    assert len(charts) > 1
    assert sum(text == f"figure {digest(charts[0].encode())}" for text in after.texts) <= 1
    assert not any("the live figure follows" in text for text in after.texts)
