"""Rows of the stage prepare, as literals and as a hypothesis strategy."""

from hypothesis import strategies as st


def prompt(text, **columns):
    return {"prompt": [{"role": "user", "content": text}], **columns}


def texts(rows):
    return [row["prompt"][0]["content"] for row in rows]


_USERS = st.sampled_from([None, "ann", "bo", "cy", "di"])
_TEXTS = st.text(alphabet="ab ", min_size=1, max_size=6).filter(str.strip)
_SOURCES = st.sampled_from(["labeler", "customer"])
ROWS = st.lists(
    st.builds(
        lambda text, user, source: prompt(text, user=user, source=source),
        _TEXTS,
        _USERS,
        _SOURCES,
    ),
    max_size=30,
)
"""Few users and few letters: prompts and users are often the same."""
