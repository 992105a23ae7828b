from hypothesis import given
from hypothesis import strategies as st

from comp.declare.labels.files import all_placed, placed


@given(
    folder=st.sampled_from(["/a/b", "/", ".", "a"]),
    names=st.lists(st.text("ab./", max_size=4), max_size=4),
)
def test_many_names_are_placed_as_each_is(folder, names):
    assert all_placed(folder, names) == [placed(folder, name) for name in names]
