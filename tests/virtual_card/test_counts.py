"""What a decoded token and an update cost on a card: operations and waits, which only go down."""

import json

import pytest

MOST = {"lora": (11, 213, 10_063), "qlora": (11, 227, 10_843), "full": (13, 147, 8_553)}
"""Operations to draw a token, to read it with two layers, and of four updates by PPO of two
micro-batches of policy and value model each; 40 are the explained variance."""

WAITS = 31
"""Of these four updates: one a forward pass, in which transformers looks for packed sequences, and
three an update, for losses, gradient norms and metrics; and one for the batch."""


@pytest.mark.parametrize("loader", MOST)
def test_operations_and_waits(card_process, tmp_path, loader):
    command = ["-m", "tests.virtual_card.counted", loader, str(tmp_path / "runs")]
    found = json.loads(card_process(*command))
    for name, most in zip(("draw", "advance", "step"), MOST[loader], strict=True):
        counted = found[name][-1]["operations"]  # the first update makes the optimizer's states
        assert 0 < counted <= most, name
    for name in ("draw", "advance"):
        assert [call["waits"] for call in found[name] if call["waits"]] == []
    assert max(sum(call["waits"].values()) for call in found["step"]) <= WAITS
