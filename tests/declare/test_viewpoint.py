import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.viewpoint import View, Viewpoint, side_on, top_down, upright
from comp.errors import DeclarationError


def test_of_a_rectangle_the_views_are_those_that_keep_its_shape():
    assert top_down().at((32, 48)).fixed_views == (View(0), View(2), View(4), View(6))
    assert top_down().at((32, 32)) == top_down().at(32) == top_down()
    assert side_on().at((32, 48)) == side_on()


@pytest.mark.parametrize(
    ("viewpoint", "fixed"), [(upright(), 1), (side_on(), 2), (top_down(), 8)], ids=["upright", "side_on", "top_down"]
)
@settings(max_examples=20)
@given(count=st.integers(1, 40))
def test_views_are_the_plain_one_the_fixed_ones_of_the_family_and_random_ones_and_all_differ(viewpoint, fixed, count):
    views = viewpoint.views(count)
    assert len(set(views)) == len(views) == count
    assert views == viewpoint.views(41)[:count]
    assert views[0] == View()
    assert len(viewpoint.fixed_views) == fixed
    assert views[:fixed] == viewpoint.fixed_views[:count]
    assert [view.draw is None for view in views] == [place < fixed for place in range(count)]


def test_a_subclass_whose_views_a_run_would_lose_is_refused():
    with pytest.raises(DeclarationError, match=r"Corners .*`pipeline`.*`tta`"):
        type("Corners", (Viewpoint,), {"fixed_views": (View(),)})
