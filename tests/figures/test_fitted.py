import numpy as np

from lens.figures.fitted import MATRIX, narrow, small_grid, small_matrix
from lens.figures.grid import grid
from lens.figures.matrix import matrix
from lens.figures.measure import Measure

LONG = "Mean attention <from> the second copy & more, " * 6


def test_a_narrow_figure_says_the_same_in_shorter_lines_and_keeps_its_plot():
    figure = grid(Measure("score", LONG, np.eye(3)), title="Title")
    before = figure.layout.height - figure.layout.margin.t, figure.layout.title.subtitle.text.replace("<br>", " ")
    figure = narrow(figure, 300)
    lines = figure.layout.title.subtitle.text.split("<br>")
    assert max(len(line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")) for line in lines) <= 46
    assert (figure.layout.height - figure.layout.margin.t, " ".join(lines)) == before
    assert "&lt;from&gt;" in figure.layout.title.subtitle.text


def test_a_figure_without_subtitle_stays_as_it_is():
    figure = grid(Measure("score", "", np.eye(3)))
    height = figure.layout.height
    assert narrow(figure, 100).layout.height == height


def test_a_small_matrix_is_square_and_its_labels_do_not_touch():
    figure = small_matrix(matrix(np.tril(np.ones((40, 40))), [f"t{i}" for i in range(40)]), 280, 400)
    assert len(figure.layout.yaxis.tickvals) == len(figure.layout.yaxis.ticktext) == 20
    assert figure.layout.xaxis.ticktext[1] == "2: t2"
    assert figure.layout.yaxis.scaleanchor == "x"
    assert figure.layout.height == figure.layout.margin.t + 280 + MATRIX["b"]


def test_without_a_width_the_subtitle_goes():
    figure = grid(Measure("score", LONG, np.eye(3)), title="Title")
    plot = figure.layout.height - figure.layout.margin.t
    figure = small_grid(figure, None)
    assert figure.layout.title.subtitle.text == ""
    assert figure.layout.margin.autoexpand is False
    assert figure.layout.title.text == "Title"
    assert figure.layout.height - figure.layout.margin.t == plot
    assert figure.layout.margin.t >= 34


def test_many_columns_keep_every_second_label():
    figure = small_grid(grid(Measure("score", LONG, np.ones((30, 9)))), 300)
    assert list(figure.layout.xaxis.ticktext) == [str(layer) for layer in range(0, 30, 2)]
    assert list(small_grid(grid(Measure("score", LONG, np.ones((4, 3)))), 300).layout.xaxis.ticktext) == ["0", "1", "2"]
