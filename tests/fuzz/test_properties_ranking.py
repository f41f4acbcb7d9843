"""Rankings: the loss depends on order alone, agreement is a share, ties say nothing."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhfkit.labelling.judged import compared
from rlhfkit.rl.losses import kwise_ranking_loss
from rlhfkit_plugins.labelers.ranking import ranks_of

RANKED = st.lists(st.tuples(st.floats(-5, 5, width=32), st.integers(1, 4)), min_size=1, max_size=7)
RANKS = st.lists(st.integers(1, 4), min_size=2, max_size=6)


def loss_of(ranked):
    rewards = torch.tensor([reward for reward, _ in ranked], dtype=torch.float64)
    return kwise_ranking_loss(rewards.requires_grad_(), torch.tensor([r for _, r in ranked]))


@given(RANKED, st.randoms(use_true_random=False))
@settings(max_examples=80)
def test_the_place_in_the_list_does_not_matter(ranked, draw):
    one, other = loss_of(ranked), loss_of(draw.sample(ranked, len(ranked)))
    torch.testing.assert_close(one.loss, other.loss)
    assert (one.correct, one.pairs) == (other.correct, other.pairs)


@given(RANKED, st.floats(-9, 9))
@settings(max_examples=80)
def test_only_differences_and_order_count(ranked, shift):
    moved = [(reward + shift, 10 * rank - 3) for reward, rank in ranked]
    one, other = loss_of(ranked), loss_of(moved)
    torch.testing.assert_close(one.loss, other.loss, rtol=1e-6, atol=1e-6)
    assert one.pairs == other.pairs


@given(RANKED)
@settings(max_examples=80)
def test_tied_pairs_say_nothing(ranked):
    found = loss_of(ranked)
    ranks = [rank for _, rank in ranked]
    untied = sum(one < other for one in ranks for other in ranks)
    assert found.pairs == untied
    assert 0 <= found.correct <= found.pairs
    assert found.loss >= 0
    found.loss.backward()
    if not untied:
        assert found.loss == 0


@given(RANKED)
@settings(max_examples=80)
def test_a_step_against_the_gradient_lowers_the_loss(ranked):
    rewards = torch.tensor([reward for reward, _ in ranked], dtype=torch.float64).requires_grad_()
    ranks = torch.tensor([rank for _, rank in ranked])
    before = kwise_ranking_loss(rewards, ranks).loss
    before.backward()
    after = kwise_ranking_loss(rewards.detach() - 0.01 * rewards.grad, ranks).loss
    assert after <= before + 1e-12
    assert abs(float(rewards.grad.sum())) < 1e-9  # a shift of all changes nothing


@given(RANKS, st.data())
def test_agreement_is_a_share_and_nobody_comes_first(ranks, data):
    other = data.draw(st.lists(st.integers(1, 4), min_size=len(ranks), max_size=len(ranks)))
    found = compared(ranks, other)
    assert found == compared(other, ranks)
    assert found.pairs == len(ranks) * (len(ranks) - 1) // 2
    assert 0 <= found.same <= found.decided <= found.pairs
    assert found.same <= found.same_with_ties <= found.pairs
    reverse = compared(ranks, [-rank for rank in other])
    assert (reverse.decided, reverse.same) == (found.decided, found.decided - found.same)


@given(RANKS)
def test_everybody_agrees_with_themselves(ranks):
    found = compared(ranks, ranks)
    assert found.same == found.decided
    assert found.same_with_ties == found.pairs


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6), st.floats(0, 2))
def test_ranks_made_of_scores_lose_no_order(scores, margin):
    ranks = ranks_of(scores, margin)
    assert min(ranks) == 1
    assert set(ranks) == set(range(1, max(ranks) + 1))
    ordered = sorted(zip(scores, ranks, strict=True), reverse=True)
    assert [rank for _, rank in ordered] == sorted(ranks)
