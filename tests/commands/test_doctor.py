"""`rlhfkit doctor` as a user meets it."""

import json
import shutil
import sys

import pytest

from rlhfkit.commands.main import main
from tests.diagnosis.record import RECORDED


@pytest.fixture
def doctor(capsys):
    """`doctor("runs/x")`: exit status and what is printed."""

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main(["doctor", *map(str, words)])
        said = capsys.readouterr()
        return ended.value.code, said.out + said.err

    return run


def test_a_healthy_run_is_status_0(doctor):
    status, said = doctor(RECORDED / "healthy_0")
    assert status == 0
    assert "nothing found; 30 iterations of rl" in " ".join(said.split())
    assert "not diagnosed: overoptimised, for want of a reward of weight 0" in said


def test_a_broken_one_is_status_1_and_fits_80_columns(doctor):
    status, said = doctor(RECORDED / "kl_negative")
    assert status == 1
    assert max(map(len, said.splitlines())) <= 80
    for words in (
        "3. KL is negative",
        "saw",
        "cause",
        "change",
        "sampler=generate",
        "source",
        "TRL docum",
    ):
        assert words in said
    assert said.index("ratio is not 1") < said.index("KL is negative")


def test_json(doctor):
    status, said = doctor(RECORDED / "kl_negative", "--json")
    found = json.loads(said)
    assert status == 1
    assert [item["name"] for item in found["found"][:3]] == [
        "ratio is not 1",
        "sampler drifts",
        "KL is negative",
    ]
    assert found["found"][2].keys() == {"name", "saw", "cause", "change", "source"}
    assert found["not_diagnosed"]["overoptimised"] == ["a reward of weight 0"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "doctor: say one run's directory"),
        (["a", "b"], "doctor: say one run's directory"),
        (["--jsn"], "doctor --jsn: no such flag; did you mean '--json'?"),
        (["healthy_O"], "healthy_O: no such directory; did you mean 'healthy_"),
        (["."], "nothing to go by yet: no stage sample, rl or evaluate"),
    ],
)
def test_mistakes_are_status_2(doctor, words, says):
    status, said = doctor(*(RECORDED / word if "-" not in word else word for word in words))
    assert status == 2
    assert says in said


def test_a_run_that_is_still_going(doctor, tmp_path):
    """Its last line may not be whole yet, and its options stand in started.json."""
    shutil.copytree(RECORDED / "kl_explodes", tmp_path / "run")
    rl = tmp_path / "run" / "rl"
    (rl / "stage.json").rename(rl / "started.json")
    with (rl / "metrics.jsonl").open("a") as file:
        file.write('{"step": 31, "objecti')
    status, said = doctor(tmp_path / "run")
    assert status == 1
    assert "30 iterations of rl" in " ".join(said.split())
    assert "KL explodes" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rl/metrics.jsonl", '{"objective/scores": 1}\n'),
        ("rl/metrics.jsonl", "[1]\n"),
        ("rl/stage.json", "[]"),
        ("evaluate/metrics.json", '{"rl": {"win_rate": {"value": 1}}}'),
        ("sample/completions.jsonl", '{"prompt": 3, "completions": []}\n'),
    ],
)
def test_a_damaged_file_is_one_line(doctor, tmp_path, name, content):
    shutil.copytree(RECORDED / "healthy_0", tmp_path / "run")
    file = tmp_path / "run" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    status, said = doctor(tmp_path / "run")
    assert status == 2
    assert f"{file}: altered since it was written" in said


def test_torch_is_not_imported():
    import subprocess

    code = (
        "import sys; from rlhfkit.commands.main import main\n"
        f"try: main(['doctor', {str(RECORDED / 'healthy_0')!r}])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'hydra', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]")
