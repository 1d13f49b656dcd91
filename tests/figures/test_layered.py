import itertools

from lens.figures.layered import Edge, layered_graph


def test_no_two_edges_say_what_they_are_at_one_place():
    heads = range(4)
    edges = [Edge((0, a), (1, b), 0.1 * a + b) for a, b in itertools.product(heads, heads)]
    edges += [Edge((0, a), (2, b), 0.5) for a, b in itertools.product(heads, heads)]
    figure = layered_graph(edges, (3, 4), name="K", title="t", definition="d")
    (middles,) = [trace for trace in figure.data if trace.mode == "markers"]
    places = {(round(x, 4), round(y, 4)) for x, y in zip(middles.x, middles.y)}
    assert len(places) == len(edges)
