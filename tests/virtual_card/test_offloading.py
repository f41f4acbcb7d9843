"""stage.rl.activation_offloading on the card: the same numbers, and copies without a wait."""

import json

CODE = """
from tests.virtual_card import card  # before torch
import gc, json
import torch
from transformers import LlamaForCausalLM
from rlhfkit.models.batch import make_batch
from rlhfkit.models.language_model import LanguageModel
from rlhfkit.testing import tiny
from tests.virtual_card.counting import Counting

found = {}
for offload in (False, True):
    torch.manual_seed(0)
    model = LlamaForCausalLM(tiny.config(num_hidden_layers=6, hidden_size=64)).to("cuda")
    policy = LanguageModel(model)
    policy.checkpoint_activations(offload=offload)
    batch = make_batch([[5] * 40] * 8, [[7] * 24] * 8, "cuda")
    policy.response_logprobs(batch)[0].sum().backward()
    gradients = [each.grad.clone() for each in model.parameters()]
    model.zero_grad()
    gc.collect()  # now, and not between the two readings of what is held
    before = card.live()
    with Counting() as counted:
        loss = policy.response_logprobs(batch)[0].sum()
        held = card.live() - before
        loss.backward()
    digest = [each.double().sum().item() for each in gradients]
    found[offload] = [digest, held, counted.waits.total(), counted.uploads.total()]
    del model, policy, gradients, loss
print(json.dumps(list(found.values())))
"""


def test_the_same_gradients_of_less_memory_without_waiting(card_process):
    plain, offloaded = json.loads(card_process("-c", CODE).splitlines()[-1])
    assert offloaded[0] == plain[0]
    inputs = 8 * 64 * 64 * 4  # of a layer
    assert plain[1] - offloaded[1] == 6 * inputs
    assert offloaded[2:] == plain[2:]
