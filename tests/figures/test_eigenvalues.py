import numpy as np

from lens.figures.eigenvalues import NULL_POINTS, eigenvalues


def xy(trace):
    return np.array(trace.x) + 1j * np.array(trace.y)


def test_points_are_scaled_by_the_largest_of_the_head():
    figure = eigenvalues(np.array([4.0, 2j, -2j, 0]), np.array([[8.0, -4j]]))
    null, own = figure.data
    np.testing.assert_allclose(xy(own), [1, 0.5j, -0.5j, 0], atol=1e-6)
    np.testing.assert_allclose(xy(null), [2, -1j], atol=1e-6)
    assert "λ = 4.00<br>" in own.text[0]
    assert "λ = 0.00 − 2.00 i" in own.text[2]
    assert len(figure.layout.shapes) == 1


def test_a_logarithmic_radius_keeps_the_direction():
    figure = eigenvalues(np.array([1.0, -0.1, 1e-9, 0.01j]), np.empty((0, 4), complex), log=True)
    np.testing.assert_allclose(xy(figure.data[1]), [1, -2 / 3, 0, 1j / 3], atol=1e-6)
    assert len(figure.layout.shapes) == 3


def test_a_cloud_is_thinned_and_zeros_do_not_divide():
    figure = eigenvalues(np.zeros(8), np.ones((1000, 8), complex))
    assert len(figure.data[0].x) <= NULL_POINTS
    assert not np.array(figure.data[1].x).any()
