"""Batches hold what they were made of; arguments that do not fit each other are told by name."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhfkit.models.batch import make_batch
from rlhfkit.models.batch_size import how_many_fit
from rlhfkit.models.forward import by_length
from rlhfkit.rl import losses, masking

IDS = st.lists(st.integers(0, 9), min_size=1, max_size=6)
PAIRS = st.lists(st.tuples(st.sampled_from([[1], [2, 3], [2, 3, 4]]) | IDS, IDS), min_size=1,
                 max_size=8)  # fmt: skip


@given(PAIRS, st.booleans())
@settings(max_examples=150)
def test_every_response_is_found_again(pairs, share):
    prompts, responses = map(list, zip(*pairs, strict=True))
    batch = make_batch(prompts, responses, share_prompts=share)
    length = batch.input_ids.shape[1]
    for n, (prompt, response) in enumerate(pairs):
        row, count = int(batch.rows[n]), len(response)
        assert batch.response_mask[n].tolist() == [
            t < count for t in range(len(batch.response_mask[n]))
        ]
        assert batch.response_ids[n, :count].tolist() == response
        end = int(batch.last_index[n])
        assert batch.input_ids[row, end - count + 1 : end + 1].tolist() == response
        assert batch.input_ids[row, : len(prompt)].tolist() == prompt
        before = batch.state_index[n, :count].tolist()
        assert before == [len(prompt) - 1, *range(end - count + 1, end)]
        assert all(0 <= place < length for place in batch.state_index[n].tolist())
        assert bool(batch.attention_mask[row, end])
    found = batch.sequences(batch.input_ids[..., None])
    assert [row[:, 0].tolist() for row in found] == [p + r for p, r in pairs]


@given(PAIRS)
@settings(max_examples=100)
def test_a_shared_row_sees_what_rows_apart_see(pairs):
    prompts, responses = map(list, zip(*pairs, strict=True))
    batch = make_batch(prompts, responses, share_prompts=True)
    if batch.shared is None:
        return
    mask = batch.shared.mask()[:, 0]
    for n, (prompt, response) in enumerate(pairs):
        row, end = int(batch.rows[n]), int(batch.last_index[n])
        own = [*range(len(prompt)), *range(end - len(response) + 1, end + 1)]
        assert mask[row, end].nonzero().flatten().tolist() == own
        assert batch.shared.position_ids[row, own].tolist() == list(range(len(own)))


@pytest.mark.parametrize(
    ("prompts", "responses"), [([[]], [[1]]), ([[1]], [[]]), ([[1], []], [[2], [3]]), ([], [])]
)
def test_what_has_no_token_makes_no_batch(prompts, responses):
    with pytest.raises(ValueError, match="a batch needs prompts and responses of a token at least"):
        make_batch(prompts, responses)


@given(PAIRS)
def test_sorting_by_length_loses_nobody(pairs):
    prompts, responses = map(list, zip(*pairs, strict=True))
    order, lengths = by_length(prompts, responses)
    assert sorted(order) == list(range(len(pairs)))
    assert lengths == sorted(lengths)
    for place, length in zip(order, lengths, strict=True):
        assert length >= len(prompts[place]) + len(responses[place])


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20).map(sorted), st.integers(1, 30))
def test_what_fits_is_no_more_than_the_longest_would_be(lengths, size):
    count = how_many_fit(lengths, size)
    assert 1 <= count <= len(lengths)
    assert count * lengths[count - 1] <= size * lengths[-1]
    if count < len(lengths):
        assert (count + 1) * lengths[count] > size * lengths[-1]


KINDS = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.int64, torch.bool])
SHAPES = st.lists(st.integers(0, 3), max_size=3)
TENSORS = st.builds(lambda shape, kind: torch.ones(shape, dtype=kind), SHAPES, KINDS)
FUNCTIONS = {
    "last_index": (masking.last_index, 1),
    "zero_masked": (masking.zero_masked, 2),
    "masked_sum": (masking.masked_sum, 2),
    "masked_mean": (masking.masked_mean, 2),
    "masked_variance": (masking.masked_variance, 2),
    "kwise_ranking_loss": (losses.kwise_ranking_loss, 2),
    "explained_variance": (losses.explained_variance, 3),
    "pretraining_loss": (losses.pretraining_loss, 2),
    "ppo_policy_loss": (lambda *four: losses.ppo_policy_loss(*four, 0.2), 4),
    "clipped_value_loss": (lambda *four: losses.clipped_value_loss(*four, 0.2), 4),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(data=st.data())
@settings(max_examples=60)
def test_tensors_that_do_not_fit_are_told_by_name(name, data):
    function, count = FUNCTIONS[name]
    first = data.draw(TENSORS)
    others = [data.draw(TENSORS | st.just(first)) for _ in range(count - 1)]
    result, told = None, ""
    try:
        result = function(first, *others)
    except ValueError as error:
        told = str(error)
    assert (": " in told) == (result is None)
    parts = vars(result).values() if hasattr(result, "loss") else [result]
    assert told or all(torch.isfinite(part.double()).all() for part in parts)


BAD = st.sampled_from([math.nan, math.inf, -math.inf, 1e38])


@given(st.lists(st.tuples(st.floats(-5, 5), st.booleans(), BAD), min_size=1, max_size=9))
def test_what_stands_in_the_padding_reaches_nothing(entries):
    mask = torch.tensor([kept for _, kept, _ in entries])
    clean = torch.tensor([value for value, _, _ in entries])
    dirty = torch.tensor([value if kept else bad for value, kept, bad in entries])
    for of in (masking.masked_sum, masking.masked_mean, masking.masked_variance):
        if not mask.any() and of is not masking.masked_sum:
            continue
        dirty.requires_grad_().grad = None
        found = of(dirty, mask)
        torch.testing.assert_close(found, of(clean, mask))
        found.backward()
        assert dirty.grad.isfinite().all()
        assert not dirty.grad[~mask].any()
