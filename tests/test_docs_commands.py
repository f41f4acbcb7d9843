"""What the docs say to type is typed as it stands, in zsh too."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("examples/*/README.md")]
COMMAND = re.compile(
    r"(?:^ {4}|`)(?:\w+=\S+ )*(?:rlhfkit|accelerate launch) (?:\\\n|[^`\n])*", re.M
)
QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|#.*")


def commands(page):
    return COMMAND.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_shell_takes_a_word_for_a_pattern(page):
    """zsh refuses a word with brackets, `?` or `*` that matches no file."""
    for command in commands(page):
        bare = QUOTED.sub("", command)
        words = [word for word in bare.split() if "=" in word and re.search(r"[\[\]?*{}]", word)]
        assert not words, f"quote {words} in: {command}"


def test_the_commands_are_found():
    found = [command for page in PAGES for command in commands(page)]
    assert len(found) > 30
    assert any("\\\n" in command for command in found)
