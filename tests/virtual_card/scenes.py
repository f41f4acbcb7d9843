"""What test_card.py tries on the card: small functions, each in its turn in one process."""

from tests.virtual_card import card  # before torch

# isort: split
import json
import sys

import torch
from torch.nn import functional

from tests.virtual_card.counting import Counting


def raised(call) -> str:
    """The type and the words of the error that a call raises."""
    try:
        call()
    except (RuntimeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def devices():
    made = torch.ones(2, 3, device="cuda")
    made.view(6)[0] = 5
    return {
        "tensor": str(made.device),
        "product": str((made @ made.T).device),
        "through a view": made.tolist(),
        "module": str(next(torch.nn.Linear(2, 2).to("cuda").parameters()).device),
        "mixed": raised(lambda: made + torch.ones(2, 3)),
        "mixed indices": raised(lambda: made.index_select(0, torch.tensor([1]))),
        "mixed attention": raised(
            lambda: functional.scaled_dot_product_attention(made[None], torch.ones(1, 2, 3), made)
        ),
        "a number of the host": (made * torch.tensor(2.0)).sum().item(),
        "indices of the host": made[torch.tensor([1])].tolist(),
        "second card": raised(lambda: torch.ones(1, device="cuda:1")),
    }


def generators():
    own = torch.Generator("cuda").manual_seed(3)
    state = own.get_state()
    drawn = torch.rand(4, device="cuda", generator=own)
    own.set_state(state)
    states = torch.cuda.get_rng_state_all()
    first, host = torch.rand(4, device="cuda"), torch.get_rng_state()
    torch.cuda.set_rng_state_all(states)
    dropped = functional.dropout(torch.ones(1000, device="cuda"))
    torch.cuda.set_rng_state_all(states)
    return {
        "device": str(own.device),
        "state": torch.equal(drawn, torch.rand(4, device="cuda", generator=own)),
        "all states": torch.equal(first, torch.rand(4, device="cuda")),
        "dropout leaves the host's generator": torch.equal(host, torch.get_rng_state()),
        "dropout": sorted(dropped.unique().tolist()),
        "of the host": raised(
            lambda: torch.rand(3, device="cuda", generator=torch.Generator().manual_seed(1))
        ),
        "on the host": raised(lambda: torch.ones(3).multinomial(1, generator=own)),
    }


def memory():
    start = card.live()
    kept = torch.zeros(256, device="cuda")
    held = card.live() - start
    copied = kept.repeat(4)
    grown = card.live() - start
    del copied
    card.limit(start + 2048)
    result = {
        "held": held,
        "grown": grown,
        "freed": card.live() - start,
        "made": raised(lambda: torch.zeros(257, device="cuda")),
        "computed": raised(lambda: kept.repeat(2)),
        "after": card.live() - start,
        "in the limit": str(torch.zeros(256, device="cuda").device),
    }
    card.fail_with("CUDA error: out of memory")
    result["in other words"] = raised(lambda: kept.repeat(2))
    card.fail_with(None)
    card.limit(None)
    card.reset_peak()
    result["peak"] = card.peak() - start
    return result


def numbers():
    torch.manual_seed(0)
    query = torch.randn(2, 4, 5, 8, requires_grad=True)
    key, value = torch.randn(2, 2, 2, 5, 8)
    masks = {"none": None, "bool": torch.rand(2, 1, 5, 5) > 0.3, "added": torch.randn(5, 5)}
    return {name: _differ(query, key, value, mask) for name, mask in masks.items()}


def _differ(query, key, value, mask):
    """How far attention and its gradient on the card are from the host's."""
    found = []
    for device in ("cpu", "cuda"):
        moved = [None if each is None else each.to(device) for each in (query, key, value, mask)]
        output = functional.scaled_dot_product_attention(*moved, enable_gqa=True)
        (gradient,) = torch.autograd.grad(output.sum(), query)
        found.append((output.cpu(), gradient))
    return max((one - other).abs().max().item() for one, other in zip(*found, strict=True))


def precision():
    made = torch.rand(2, 2, device="cuda")
    low = made.bfloat16()
    with torch.autocast("cuda", dtype=torch.bfloat16):
        inside = [made @ made, made.softmax(0)]
        attention = functional.scaled_dot_product_attention(made[None], made[None], made[None])
    mixed = functional.scaled_dot_product_attention
    return {
        "autocast": [str(each.dtype) for each in (*inside, attention)],
        "mm": str(torch.mm(low, low, out_dtype=torch.float32).dtype),
        "addmm": str(torch.addmm(made, low, low, out_dtype=torch.float32).dtype),
        "mixed attention": raised(lambda: mixed(made[None], low[None], made[None])),
    }


def waits():
    row = torch.arange(4.0, device="cuda")
    calls = {
        "item": lambda: row[1].item(),
        "tolist": lambda: row.tolist(),
        "cpu": lambda: row.cpu(),
        "non_blocking": lambda: row.to("cpu", non_blocking=True),
        "nonzero": lambda: row.nonzero(),
        "mask": lambda: row[row > 1],
        "if": lambda: bool((row > 1).any()),
        "upload": lambda: torch.ones(3).to("cuda"),
        "views": lambda: row.view(2, 2).T[0].unsqueeze(0).detach(),
        "two": lambda: (row + 1) * 2,
        "backward": lambda: row.clone().requires_grad_().exp().sum().backward(),
        "host": lambda: torch.ones(3).sum().item(),
    }
    return {name: _counted(call) for name, call in calls.items()}


def _counted(call):
    with Counting() as counted:
        call()
    places = {place for _, place in [*counted.waits, *counted.uploads]}
    assert places <= {"elsewhere"}
    kernels = counted.kernels.total()
    return [kernels, counted.waits.total(), counted.uploads.total()]


def abilities():
    cuda = torch.cuda
    return {
        "capability": cuda.get_device_capability(),
        "bfloat16": [cuda.is_bf16_supported(including_emulation=False), cuda.is_bf16_supported()],
        "gib": [round(size / 2**30, 3) for size in cuda.mem_get_info()],
    }


def out_of_half():
    """With a limit of half a mebibyte from the environment."""
    made = torch.empty(2**18, dtype=torch.uint8, device="cuda")
    return [raised(made.clone), raised(lambda: made.repeat(2))]


if __name__ == "__main__":
    print(json.dumps({name: globals()[name]() for name in sys.argv[1:]}))
