import base64

import numpy as np

from lens.ui.components import Pairs


def test_the_weights_of_pairs_are_sent_as_a_triangle_of_steps_of_the_largest():
    values = np.array([[0.5, 9, 9], [0.25, 0, 9], [np.nan, 0.1, 0.5]])  # 9: above the diagonal, never read
    sent = Pairs(values, [None, 0, 1, 2], "head 0.1", "a page:its matrix").data()
    steps = np.frombuffer(base64.b64decode(sent["steps"]), np.uint8)
    assert steps.tolist() == [255, 128, 0, 0, 51, 255]
    assert (sent["top"], sent["size"], sent["rows"]) == (0.5, 3, [-1, 0, 1, 2])
    assert sent["chart"] == "a-page-its-matrix"


def test_pairs_without_any_weight_are_sent_too():
    assert Pairs(np.zeros((2, 2)), [0, 1], "").data()["top"] == 1.0
