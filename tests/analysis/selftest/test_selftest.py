"""The scorecard is green on Lens's instruments, and red on every one that is broken."""

import subprocess
import sys

import pytest

from lens import __main__, selftest
from lens.analysis.selftest import INSTRUMENTS, Tools, examine, make_subject, run
from lens.analysis.selftest.card import digits, summary, table
from lens.analysis.selftest.instruments import instrument
from lens.analysis.selftest.result import FOUND, INSIDE, REJECTED, VERDICTS, Expected, Reading, Row, judge, problem
from lens.analysis.selftest.subject import TESTED
from lens.hooked import HookedTransformer
from lens.planted.plants import NAMES
from tests.analysis.selftest import broken

READING = Reading(naive=0.9, value=0.8, control=0.1, threshold=0.2, where="1.2", n=16, unit="sequences")


@pytest.fixture(scope="module")
def rows() -> tuple[Row, ...]:
    return run()


def test_every_instrument_says_what_was_planted(rows):
    assert [row.problem for row in rows if not row.ok] == []
    assert len(rows) == len(INSTRUMENTS) * len(NAMES)
    assert {(row.instrument, row.model) for row in rows} == {(one.name, name) for one in INSTRUMENTS for name in NAMES}
    assert {row.verdict for row in rows} == set(VERDICTS)


def test_the_hard_plants_fool_whoever_leaves_the_control_out(rows):
    offset = {row.instrument: row.reading for row in rows if row.model == "planted-offset"}
    for name, naive in (("induction", 1), ("attribution", 10), ("ablation_one", 10)):
        assert offset[name].naive == pytest.approx(naive, abs=1e-3)
        assert offset[name].value == pytest.approx(0, abs=1e-3)
    redundant = {row.instrument: row.reading for row in rows if row.model == "planted-redundant"}
    assert redundant["ablation_one"].value < 0.01 * redundant["ablation_all"].value
    assert redundant["ablation_all"].where == "1.0 and 1.2"


def test_intervals_hold_their_value(rows):
    for row in rows:
        reading = row.reading
        if reading.unit == "sequences" and reading.low is not None:
            assert reading.low - 1e-6 <= reading.value <= reading.high + 1e-6


BROKEN = [
    ("induction", {"head_scores": broken.scores_of(broken.wrong_offset)}, "planted-induction"),
    ("induction", {"head_scores": broken.scores_of(broken.no_causal_mask)}, "planted-induction"),
    ("induction", {"head_scores": broken.scores_of(broken.keys_and_queries_swapped)}, "planted-decoy"),
    ("induction", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("induction", {"sequences": broken.control_shares_tokens}, "planted-induction"),
    ("previous", {"head_scores": broken.scores_of(broken.wrong_offset)}, "planted-induction"),
    ("previous", {"head_scores": broken.scores_of(broken.keys_and_queries_swapped)}, "planted-offset"),
    ("duplicate", {"head_scores": broken.scores_of(broken.wrong_offset)}, "planted-induction"),
    ("duplicate", {"head_scores": broken.scores_of(broken.keys_and_queries_swapped)}, "planted-redundant"),
    ("duplicate", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("composition", {"k_composition": broken.transposed_OV}, "planted-induction"),
    ("composition", {"k_composition": broken.queries_for_keys}, "planted-decoy"),
    ("composition", {"k_composition": broken.not_normalised}, "planted-induction"),
    ("copying", {"copying": broken.copying_of(broken.copying_of_transposed_OV)}, "planted-induction"),
    ("copying", {"copying": broken.copying_without_sign}, "planted-anticopy"),
    ("copying", {"copying": broken.copying_by_singular_values}, "planted-decoy"),
    ("attribution", {"contributions": broken.without_scale}, "planted-redundant"),
    ("attribution", {"contributions": broken.one_position_late}, "planted-induction"),
    ("attribution", {"contributions": broken.wrong_sign}, "planted-induction"),
    ("attribution", {"contributions": broken.embedding_left_out}, "planted-induction"),
    ("attribution", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("induction_loss", {"induction_loss": broken.loss_shifted}, "planted-induction"),
    ("induction_loss", {"induction_loss": broken.loss_of_control}, "planted-induction"),
    ("induction_loss", {"induction_loss": broken.loss_at_one_length}, "planted-offset"),
    ("logit_lens", {"logit_lens": broken.lens_without_norm}, "planted-redundant"),
    ("logit_lens", {"logit_lens": broken.lens_upside_down}, "planted-induction"),
    ("logit_lens", {"logit_lens": broken.lens_of_token_itself}, "planted-induction"),
    ("logit_lens", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("writing", {"write": broken.change_forgotten}, "planted-induction"),
    ("writing", {"write": broken.change_of_one_reading_only}, "planted-induction"),
    ("writing", {"write": broken.twin_for_model}, "planted-induction"),
    ("writing", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("direct_attribution", {"answer": broken.answer_one_late}, "planted-induction"),
    ("direct_attribution", {"answer": broken.answers_exchanged}, "planted-induction"),
    ("direct_attribution", {"answer": broken.answer_with_something_left_out}, "planted-induction"),
    ("direct_attribution", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("predictions", {"predict": broken.predicted_one_early}, "planted-induction"),
    ("predictions", {"predict": broken.softmax_of_the_top}, "planted-decoy"),
    ("predictions", {"predict": broken.entropy_in_bits}, "planted-redundant"),
    ("predictions", {"predict": broken.ranks_from_one}, "planted-anticopy"),
    ("predictions", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("knockout", {"knockout": broken.cells_cut_one_key_on}, "planted-induction"),
    ("knockout", {"knockout": broken.cells_cut_in_the_next_head}, "planted-induction"),
    ("knockout", {"knockout": broken.cells_cut_in_every_head}, "planted-redundant"),
    ("knockout", {"knockout": broken.cells_not_cut}, "planted-anticopy"),
    ("knockout", {"knockout": broken.losses_exchanged}, "planted-induction"),
    ("knockout", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("neurons", {"neurons": broken.neurons_one_early}, "planted-induction"),
    ("neurons", {"neurons": broken.neurons_of_the_wrong_answer}, "planted-redundant"),
    ("neurons", {"activations": broken.activations_before_the_nonlinearity}, "planted-anticopy"),
    ("neurons", {"activations": broken.activations_of_the_layer_before}, "planted-induction"),
    ("neurons", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("qk_attribution", {"reasons": broken.sides_exchanged}, "planted-induction"),
    ("qk_attribution", {"reasons": broken.control_is_the_text}, "planted-decoy"),
    ("qk_attribution", {"reasons": broken.stripe_one_on}, "planted-induction"),
    ("qk_attribution", {"sequences": broken.control_repeats_too}, "planted-anticopy"),
    ("feeder_cut", {"reasons": broken.cut_with_the_wrong_control}, "planted-induction"),
    ("feeder_cut", {"reasons": broken.nothing_cut}, "planted-redundant"),
    ("ablation_one", {"sweep": broken.always_zero}, "planted-offset"),
    ("ablation_one", {"sweep": broken.nothing_replaced}, "planted-induction"),
    ("ablation_one", {"sweep": broken.neighbour_replaced}, "planted-induction"),
    ("ablation_one", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("ablation_one", {"head_scores": broken.scores_of(broken.heads_in_wrong_order)}, "planted-induction"),
    ("ablation_all", {"sweep": broken.one_replaced}, "planted-redundant"),
    ("ablation_all", {"head_scores": broken.scores_of(broken.wrong_offset)}, "planted-induction"),
    ("patching", {"sweep": broken.nothing_replaced}, "planted-induction"),
    ("patching", {"sweep": broken.always_zero}, "planted-redundant"),
    ("patching", {"sweep": broken.mean_for_resample}, "planted-induction"),
    ("patching", {"sweep": broken.other_way_round}, "planted-induction"),
    ("patching", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("attribution_patching", {"first_order": broken.slope_of_other_run}, "planted-redundant"),
    ("attribution_patching", {"first_order": broken.whole_activation}, "planted-induction"),
    ("attribution_patching", {"first_order": broken.sign_lost}, "planted-anticopy"),
    ("attribution_patching", {"sequences": broken.control_repeats_too}, "planted-induction"),
    ("phase_change", {"checkpoint": broken.score_without_control}, "planted-offset"),
    ("phase_change", {"checkpoint": broken.score_of_first_copy}, "planted-induction"),
    ("phase_change", {"dated": broken.dated_backwards}, "planted-induction"),
    ("phase_change", {"dated": broken.dated_one_late}, "planted-redundant"),
    ("phase_change", {"dated": broken.born_one_early}, "planted-decoy"),
]


def word(part) -> str:
    """The fault in a test's name."""
    if isinstance(part, dict):
        (function,) = part.values()
        inside = [cell.cell_contents.__name__ for cell in function.__closure__ or ()]
        return inside[0] if inside else function.__name__
    return part


@pytest.mark.parametrize(("name", "fault", "model"), BROKEN, ids=word)
def test_a_broken_instrument_is_red(name, fault, model):
    (row,) = run([model], instruments=[instrument(name)], tools=Tools(**fault))
    assert not row.ok
    assert row.problem
    assert "RED" in table([row])
    assert f"RED: {name} on {model}" in summary([row])


@pytest.mark.parametrize("name", TESTED)
def test_every_instrument_of_patterns_is_red_when_heads_look_one_too_far(name):
    tools = Tools(head_scores=broken.scores_of(broken.one_too_far))
    found = run(instruments=[instrument(name)], tools=tools)
    assert not all(row.ok for row in found)


def test_every_instrument_is_broken_by_some_test():
    assert {name for name, _, _ in BROKEN} | set(TESTED) == {one.name for one in INSTRUMENTS}


def test_the_rebuilt_instruments_are_green_without_their_fault():
    tools = Tools(head_scores=broken.scores_of(broken.true_pattern), copying=broken.copying_of(broken.true_copying))
    found = run(["planted-induction"], tools=tools)
    assert [row.problem for row in found if not row.ok] == []


class TestVerdicts:
    @pytest.mark.parametrize(
        ("changes", "verdict"),
        [
            ({}, FOUND),
            ({"naive": 0.15, "value": 0.1}, INSIDE),  # below what chance reaches
            ({"naive": 0.05, "threshold": 0.01}, INSIDE),  # beyond chance, but too small to count
            ({"value": 0.0, "threshold": 1.0}, REJECTED),  # striking, and the control shows it too
            ({"value": 0.3}, REJECTED),  # more than half of it on the control
            ({"naive": -0.9, "value": -0.9}, REJECTED),  # the other way
            ({"naive": -0.15, "value": -0.1}, INSIDE),
        ],
    )
    def test_by_hand(self, changes, verdict):
        assert judge(READING._replace(**changes), smallest=0.1, striking=0.5) == verdict

    def test_problems(self):
        assert problem(FOUND, Expected(FOUND, 0.8), READING, 1e-3) == ""
        assert "must be rejected" in problem(FOUND, Expected(REJECTED), READING, 1e-3)
        assert "must be 0.7000" in problem(FOUND, Expected(FOUND, 0.7), READING, 1e-3)
        assert "must be" in problem(FOUND, Expected(FOUND, 0.7), READING._replace(value=float("nan")), 1e-3)
        assert "identity" in problem(FOUND, Expected(FOUND), READING._replace(error=1e-3), 1e-3)
        assert "identity" in problem(FOUND, Expected(FOUND), READING._replace(error=float("nan")), 1e-3)


class TestRegistry:
    @pytest.mark.parametrize("one", INSTRUMENTS, ids=lambda one: one.name)
    def test_words_and_expectations_are_complete(self, one):
        assert set(one.expected) == set(NAMES)
        assert one.expected["planted-random"] == Expected(INSIDE)
        assert all(
            getattr(one, name) for name in ("title", "unit", "definition", "formula", "null", "source", "fooled_by")
        )
        verdicts = {expected.verdict for expected in one.expected.values()}
        assert INSIDE in verdicts
        assert FOUND in verdicts or one.name in TESTED  # where no plant does it, no head of any may be found

    def test_names(self):
        assert len({one.name for one in INSTRUMENTS}) == len(INSTRUMENTS)
        with pytest.raises(KeyError, match="ablation_all"):
            instrument("nothing")

    def test_one_model_at_a_time_gives_the_same_rows(self, rows):
        assert examine("planted-decoy") == tuple(row for row in rows if row.model == "planted-decoy")


def test_the_subject_names_what_follows():
    subject = make_subject(HookedTransformer.from_pretrained("planted-induction"), 2, 0)
    tokens, queries = subject.repeated.tokens, subject.queries
    assert (subject.following(1)[:, queries] == tokens.roll(-1, 1)[:, queries]).all()
    assert (subject.following(1)[:, :-1] == tokens[:, 1:]).all()
    assert (subject.following(2)[:, :-2] == tokens[:, 2:]).all()


class TestCommand:
    def test_green(self, capsys):
        assert selftest.main(["--sequences", "16", "--models", "planted-induction"]) == 0
        out = capsys.readouterr().out
        n_rows = len(INSTRUMENTS)
        assert f"{n_rows} of {n_rows} rows as planted" in out
        assert "RED" not in out

    def test_red(self, rows, capsys):
        bad = rows[0]._replace(verdict=INSIDE, problem="inside the null, but it must be found")
        assert selftest.report([bad, *rows[1:]], 1.0) == 1
        assert "RED: induction on planted-induction: inside the null, but it must be found" in capsys.readouterr().out

    def test_wrong_arguments(self, capsys):
        with pytest.raises(SystemExit) as end:
            selftest.main(["--sequences", "0"])
        assert end.value.code == 2
        with pytest.raises(SystemExit) as end:
            selftest.main(["--models", "planted-decoy", "gpt2"])
        assert end.value.code == 2
        assert "--models gpt2: no planted model" in capsys.readouterr().err
        assert __main__.main([]) == 2
        assert "selftest" in capsys.readouterr().err

    def test_as_a_module(self):
        done = subprocess.run([sys.executable, "-m", "lens", "selftest", "--help"], capture_output=True, text=True)
        assert done.returncode == 0
        assert "--seed" in done.stdout


def test_digits():
    assert [digits(value) for value in (None, -1e-9, 0.12346, -10)] == ["", "0.0000", "0.1235", "-10.0000"]
