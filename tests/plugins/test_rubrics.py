"""rlhfkit_plugins.rubrics: each part of a rubric on answers written by hand."""

import pytest

from rlhfkit.errors import UserError
from rlhfkit_plugins.rubrics import FORMS, Rubric, listed, occurs

ROME = Rubric(contains=[["Rome", "Roma"]], words=[1, 20])


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("sentence", "Cats purr softly.", "Cats purr softly"),
        ("sentence", 'He said "no".', "Cats purr. Dogs bark."),
        ("sentence", "They live in Rome!", "Rome."),
        ("question", "Why do cats purr?", "Cats purr softly."),
        ("unquoted", "It is Rome.", "It is “Rome”."),
        ("unquoted", "Rome", '"Rome"'),
        ("capitals", "IT IS ROME.", "IT IS Rome."),
        ("capitals", "ROME", "42."),
        ("lower_case", "it is rome.", "It is rome."),
        ("quoted", '"It is Rome."', 'It is "Rome".'),
        ("quoted", "“Rome”.", '"Rome'),
        ("quoted", '"Rome"', '"Rome" or "Roma"'),
    ],
)
def test_forms(form, good, bad):
    assert FORMS[form](good)
    assert not FORMS[form](bad)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("apple, pear, plum", 3),
        ("Apple, pear, and plum.", 3),
        ("guinea pig, cat", 2),
        ("apple and pear", 1),
        ("I know the apple, the pear and also the plum", 0),
        ("apple,\npear", 0),
        ("apple, , plum", 0),
    ],
)
def test_listed(text, count):
    assert listed(text) == count


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("apple", "Two APPLES.", True),
        ("box", "boxes", True),
        ("New Delhi", "It is New Delhi.", True),
        ("ant", "An elephant.", False),
        ("sea", "The season.", False),
        ("H2O", "Water is H2O.", True),
    ],
)
def test_occurs(word, text, found):
    assert occurs(word, text) is found


def test_parts_are_told_apart():
    rubric = Rubric(contains=[["Rome"]], avoids=["Paris"], form=["capitals"], words=[1, 3])
    assert rubric.kept("ROME") == dict.fromkeys(("contains", "avoids", "form", "length"), True)
    assert rubric.degrees("ROME or PARIS") == {
        "contains": 1.0,
        "avoids": 0.0,
        "form": 0.0,
        "length": 1.0,
    }
    assert rubric.degrees("THE CAPITAL IS OSLO, SIR") == {
        "contains": 0.0,
        "avoids": 1.0,
        "form": 1.0,
        "length": 0.6,
    }


def test_an_empty_answer_keeps_nothing_that_is_wanted():
    assert ROME.degrees("") == {"contains": 0.0, "avoids": 1.0, "form": 1.0, "length": 0.0}


def test_some_of_the_groups_will_do():
    fruits = Rubric(contains=[["apple"], ["pear"], ["plum"], ["fig"]], at_least=2, items=2)
    assert fruits.degrees("apple, stone")["contains"] == 0.5
    assert fruits.kept("apple, plum") == dict.fromkeys(
        ("contains", "avoids", "form", "length"), True
    )
    assert not fruits.kept("apple, plum, fig")["form"]


def test_first_and_last_words():
    rubric = Rubric(start="Well", end="sir")
    assert rubric.degrees("Well, it is Rome, sir.")["form"] == 1.0
    assert rubric.degrees("Well, it is Rome.")["form"] == 0.5
    assert rubric.degrees("Wellington")["form"] == 0.0


def test_of_a_row():
    """Data sets fill what a row lacks with None."""
    assert Rubric.of(None) is None
    assert Rubric.of({"contains": [["Rome", "Roma"]], "words": [1, 20], "form": None}) == ROME


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("Rome", "'Rome' is no rubric"),
        ({"contain": [["Rome"]]}, "has no 'contain'; did you mean 'contains'"),
        ({"form": ["capital"]}, "no form 'capital'; did you mean 'capitals'"),
        ({"words": [0, 5]}, "fewest"),
        ({"words": [5]}, "fewest"),
    ],
)
def test_what_is_no_rubric_is_refused(row, says):
    with pytest.raises(UserError, match=says):
        Rubric.of(row)
