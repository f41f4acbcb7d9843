"""The pages of the site that are told from the code, and the messages that the FAQ explains."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

from rlhfkit import hookspecs
from rlhfkit.commands.options import known_options
from rlhfkit.config.docs import options_of

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OF_OTHERS = ("zsh: no matches found",)
"""Messages of programs that are not ours."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    found = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    reference = importlib.util.module_from_spec(found)
    found.loader.exec_module(reference)
    folder = tmp_path_factory.mktemp("docs") / "generated"
    reference.write_pages(folder)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_every_option_has_its_row(pages, plugins):
    for name, config in known_options(plugins).items():
        page = pages["components.md" if "=" in name else "options.md"]
        for option in options_of(config):
            if name != "run":  # whose choices of components have pages of their own
                assert re.search(rf"^\| `` \S*\b{option.name} `` \|", page, re.M), (name, option)
    assert "| `` kl.kl_coef `` | `` 0.02 `` |" in pages["components.md"]
    assert "| `` reward.length.weight `` | `` 1.0 `` |" in pages["components.md"]


def test_every_hook_command_and_recipe(pages):
    for name, item in vars(hookspecs).items():
        if hasattr(item, "rlhfkit_spec"):
            assert f"\n## {name}\n" in pages["hooks.md"]
    assert "| `rlhfkit watch` |" in pages["commands.md"]
    for recipe in (ROOT / "recipes" / "recipe").glob("*.yaml"):
        assert f"| `recipe={recipe.stem}` | " in pages["recipes.md"]


def test_links_of_copied_pages_lead_somewhere(pages):
    for name, folder in (("home.md", DOCS), ("changelog.md", DOCS / "generated")):
        links = re.findall(r"\]\((?!https?:)([^)#]+)", pages[name])
        assert links
        for link in links:
            generated = link.removeprefix("generated/") in pages
            assert generated or (folder / link).resolve().exists(), (name, link)


def test_every_page_is_in_the_navigation():
    listed = set(re.findall(r"^[a-z_/]+$", (DOCS / "index.md").read_text(), re.M))
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= listed


def texts(file):
    """Every text of a file's code, with … for what is put in."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_the_faq_explains_messages_that_the_code_prints():
    """All fixed parts of a heading stand in one file."""
    files = (*(ROOT / "rlhfkit").rglob("*.py"), *(ROOT / "plugins").rglob("*.py"))
    known = ["\n".join(texts(file)) for file in files]
    headings = re.findall(r"^### `(.+)`$", (DOCS / "faq.md").read_text(encoding="utf-8"), re.M)
    assert len(headings) > 20
    for heading in set(headings) - set(OF_OTHERS):
        parts = [part.strip(" ;:") for part in heading.split("…")]
        assert any(all(part in text for part in parts) for text in known), heading


@pytest.mark.parametrize("page", ["tutorial", "faq", "migrating", "memory"])
def test_options_that_a_page_names_are_there(page, pages):
    """`optimizer.beta` and others, with or without a value."""
    known = set(
        re.findall(r"^\| `` (\S+) `` \|", pages["options.md"] + pages["components.md"], re.M)
    )
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    groups = (
        "stage|optimizer|sampler|kl|loader|model|checkpoint|reward|data|labeler|evaluator|export"
    )
    named = set(re.findall(rf"[` ']((?:{groups})\.[a-z_]+(?:\.[a-z_]+)*)(?=[=`, ])", text))
    assert named
    sections = {option.rpartition(".")[0] for option in known}
    assert named <= known | sections
