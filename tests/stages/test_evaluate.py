"""The evaluate stage keeps one model in memory at a time."""

import gc
import weakref

from rlhfkit.stages import evaluate


def test_no_model_is_loaded_before_the_last_one_is_gone(run_tiny, monkeypatch):
    run_tiny("stages=[sft,rl]", "reward=[length]")
    alive, load = [], evaluate.load_policy

    def checked(context, name):
        gc.collect()
        assert not [item for item in alive if item() is not None]
        model = load(context, name)
        alive.append(weakref.ref(model.model))
        return model

    monkeypatch.setattr(evaluate, "load_policy", checked)
    run_tiny("stages=[sft,rl,evaluate]", "reward=[length]")
    assert len(alive) == 3
