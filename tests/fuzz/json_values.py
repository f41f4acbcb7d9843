"""hypothesis: any JSON value, and rows of data that are wrong in any way."""

from hypothesis import strategies as st

TEXTS = st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["user", "assistant", "system"]) | SCALARS,
            "content": TEXTS | JSON,
        },
    ),
    max_size=3,
)
COLUMNS = {
    "prompt": TEXTS | MESSAGES | JSON,
    "messages": MESSAGES | JSON,
    "completion": TEXTS | MESSAGES | JSON,
    "chosen": TEXTS | JSON,
    "rejected": TEXTS | JSON,
    "completions": st.lists(TEXTS, max_size=4) | JSON,
    "ranks": st.lists(st.integers(0, 3) | SCALARS, max_size=4) | JSON,
    "finished": st.lists(st.booleans(), max_size=4) | JSON,
    "text": TEXTS | JSON,
    "annotator": JSON,
}
ROWS = st.fixed_dictionaries({}, optional=COLUMNS)
