"""Repeated random tokens: [BOS] r₁…r_n r₁…r_k → r_{k+1}."""

import torch

from lens.analysis.counts import counted
from lens.analysis.interventions.intervention import Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.tasks.task import Task
from lens.analysis.random_tokens import RepeatedTokens, repeated_tokens
from lens.hooked import HookedTransformer


def repeated(model: HookedTransformer, n: int = 10, n_pairs: int = 16, seed: int = 0) -> Task:
    """The second copy ends before its last token. Corrupted: that token is another one in the *first* copy.

    So the two prompts differ at one place, and what should come next is what stood there. Patching finds how the token
    travels from the first copy to the end.
    """
    bos = model.bos.id is not None
    drawn = repeated_tokens(model, n, n_pairs, seed, prepend_bos=bos)
    clean, corrupted = drawn.tokens[:, :-1], drawn.tokens[:, :-1].clone()
    right, wrong = drawn.tokens[:, -1], drawn.control[:, -1]
    corrupted[:, drawn.bos + n - 1] = wrong
    pairs = Pairs.of(clean, corrupted, right.tolist(), wrong.tolist())
    about = (
        f"{counted(n_pairs, 'sequence')} of {n} random tokens and their repetition; {drawn.description}; seed {seed}"
    )
    return Task("repeated tokens", pairs, (), about, (), Metric(), swapped=True)


def induction(model: HookedTransformer, n: int = 25, n_pairs: int = 16, seed: int = 0) -> Task:
    """:func:`induction_on` sequences drawn for this model, with its BOS if it has one."""
    return induction_on(repeated_tokens(model, n, n_pairs, seed, prepend_bos=model.bos.id is not None))


def induction_on(drawn: RepeatedTokens) -> Task:
    """Whole repeats against [BOS] s₁…s_n r₁…r_n; measured as loss on the second copy.

    For ablations: what a head does in the other run, where nothing repeats, replaces what it does in the repeat. The
    tokens predicted are the second copy's, its first one left out, which nothing announces.
    """
    about = f"{counted(len(drawn.tokens), 'sequence')} of {drawn.n} random tokens, twice; "
    about += f"in the control run the first copy is of other tokens; {drawn.description}; seed {drawn.seed}"
    return Task("induction loss", repeat_pairs(drawn), (), about, (), Metric("loss", where=tuple(drawn.queries)[:-1]))


def repeat_pairs(drawn: RepeatedTokens) -> Pairs:
    """Repeats as the clean side; the corrupted one has other tokens in its *first* copy and the same in its second.

    So both runs predict the same tokens, and a head that works in the first copy, as a previous-token head does for
    induction, writes something else too. In the control of the scores, [BOS] r₁…r_n s₁…s_n, it would write the same
    there, and resampling from that could never show that it is needed.
    """
    first, second = slice(drawn.bos, drawn.bos + drawn.n), slice(drawn.bos + drawn.n, None)
    corrupted = drawn.tokens.clone()
    corrupted[:, first] = drawn.control[:, second]
    return Pairs.of(drawn.tokens, corrupted)


def chance_loss(task: Task) -> float:
    """Loss of guessing evenly among the tokens of one block, ln n, in nats."""
    return float(torch.tensor(len(task.metric.where) + 1.0).log())
