"""Any JSON value that the strict parser keeps."""

from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda members: st.lists(members, max_size=4) | st.dictionaries(TEXT, members, max_size=4),
    max_leaves=12,
)
