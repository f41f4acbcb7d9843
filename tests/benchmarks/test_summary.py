"""What the benchmarks make of their repetitions: medians, ratios, slopes, tables."""

from pathlib import Path

import pytest
import torch
from rich.console import Console

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def lines(table):
    """Of a table as it is printed, blanks between cells taken for one."""
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_a_spread_is_the_median_with_its_range():
    from summary import spread

    assert spread([3.0, 1.0, 2.0]) == "2 [1, 3]"
    assert spread([0.12345, 1234.5, 99.96]) == "100 [0.12, 1234]"


def test_a_slope_is_the_exponent():
    from summary import slope

    sizes = [2.0, 4.0, 8.0, 32.0]
    for exponent in (0.0, 1.0, 1.5):
        assert slope(sizes, [7 * size**exponent for size in sizes]) == pytest.approx(exponent)


def test_ratios_are_of_repetitions_side_by_side():
    from summary import ratios

    assert ratios([6.0, 8.0], [2.0, 4.0]) == [3.0, 2.0]
    with pytest.raises(ValueError, match="longer"):
        ratios([1.0], [1.0, 2.0])


def ppo_run(side, layers, repetition, seconds, peak):
    """Two iterations of 8 tokens, of which the second is counted, in so many seconds."""
    return {
        "load": "mixed",
        "side": side,
        "layers": layers,
        "repetition": repetition,
        "ended_at": [100.0, 100.0 + seconds],
        "scores": [1.0, 1.5],
        "tokens": [5, 8],
        "peak_bytes": peak * 2**20,
        "before_bytes": 2**20,
    }


def test_the_first_iterations_are_not_counted():
    from ppo_table import numbers

    found = numbers(ppo_run("trl", "all", 0, 4.0, 101), warm_up=1, batch_size=2)
    assert found == {
        "episodes_per_second": 0.5,
        "tokens_per_second": 2.0,
        "peak_mib": 101.0,
        "above_imports_mib": 100.0,
        "reward_per_minute": 7.5,
    }


def test_the_ppo_table_compares_each_variant_with_trl():
    from ppo_table import table

    runs = [
        run
        for repetition, slow in enumerate((1.0, 2.0))
        for run in (
            ppo_run("rlhfkit", "all", repetition, slow, 101),
            ppo_run("trl", "all", repetition, 4 * slow, 401),
            ppo_run("rlhfkit", "upper", repetition, slow / 2, 51),
        )
    ]
    found = lines(table(runs, 1, 2))
    same, upper = found.index("mixed, all"), found.index("mixed, upper")
    assert found[same + 1] == "episodes/s 1.5 [1, 2] 0.38 [0.25, 0.5] 4 [4, 4]"
    assert found[same + 4] == "above imports 100 [100, 100] 400 [400, 400] 0.25 [0.25, 0.25]"
    assert found[upper + 1] == "episodes/s 3 [2, 4] 0.38 [0.25, 0.5] 8 [8, 8]"


def test_prompts_repeat_only_when_all_were_taken():
    from ppo_vs_trl import draw

    prompts = {"prompts": list("abcd"), "prompt_ids": [[1], [2], [3], [4]], "natural_ends": True}
    drawn = draw(prompts, 6, seed=0)
    assert sorted(drawn["prompts"][:4]) == list("abcd")
    assert len(drawn["prompts"]) == 6
    assert [prompts["prompts"][ids[0] - 1] for ids in drawn["prompt_ids"]] == drawn["prompts"]
    assert drawn == draw(prompts, 6, seed=0) != draw(prompts, 6, seed=1)


def test_attention_on_a_cpu_is_counted():
    from roofline import Counting

    meter = Counting(torch.device("cpu"))
    batch, heads, length, width = 2, 3, 16, 8
    query, key, value = torch.randn(3, batch, heads, length, width).requires_grad_().unbind()
    with meter.phase("forward"):
        output = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    with meter.phase("backward"):
        output.sum().backward()
    product = 2 * batch * heads * length**2 * width
    assert meter.flops["forward"] == 2 * product
    assert meter.flops["backward"] == 5 * product  # scores again, then four gradients' products


def test_the_roofline_divides_by_the_rates_of_the_same_repetition():
    from roofline import PHASES, PRODUCTS, table

    rows = [
        {
            "layers": "all",
            "flops": dict.fromkeys(PHASES, 4e9),
            "seconds": dict.fromkeys(PHASES, seconds),
            "machine": dict(zip(PRODUCTS, (8e9 / seconds, 16e9 / seconds), strict=True))
            | {"copy_bytes": 1e9},
        }
        for seconds in (1.0, 2.0)
    ]
    assert "update 3 [2, 4] 0.5 [0.5, 0.5] 0.25 [0.25, 0.25]" in lines(table(rows))


def test_the_scaling_table_marks_what_grows_faster_than_it_must():
    from scaling import table
    from scaling_axes import AXES

    sizes = [point.size for point in AXES["batch"].points]
    seconds = [[size**2] for size in sizes]
    found = {"batch": {"sizes": sizes, "bytes": sizes, "seconds": seconds}}
    printed_lines = lines(table(found))
    assert "sequences at once 2 8 memory 1.00 1" in printed_lines
    assert "sequences at once 2 8 time 2.00 1 faster" in printed_lines


def test_widths_of_the_scaling_benchmark_have_the_parameters_they_are_called_by():
    from scaling_axes import AXES
    from transformers import AutoConfig, AutoModelForCausalLM

    for point in AXES["model"].points:
        shape = dict(point.shape)
        with torch.device("meta"):
            config = AutoConfig.for_model(shape.pop("model_type"), **shape)
            model = AutoModelForCausalLM.from_config(config)
        counted = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        assert point.size == pytest.approx(counted, rel=0.01)
