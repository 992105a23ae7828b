import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.declare.viewpoint import View, Viewpoint, side_on, top_down, upright
from comp.errors import DeclarationError

FAMILIES = pytest.mark.parametrize(
    ("viewpoint", "fixed"), [(upright(), 1), (side_on(), 2), (top_down(), 8)], ids=["upright", "side_on", "top_down"]
)


@FAMILIES
def test_a_family_has_its_own_fixed_views_and_the_plain_one_is_the_first(viewpoint, fixed):
    assert viewpoint.fixed_views[0] == View()
    assert len(set(viewpoint.fixed_views)) == fixed
    assert all(view.draw is None for view in viewpoint.fixed_views)


def test_of_a_rectangle_the_views_are_those_that_keep_its_shape():
    assert top_down().at((32, 48)).fixed_views == (View(0), View(2), View(4), View(6))
    assert top_down().at((32, 32)) == top_down().at(32) == top_down()
    assert side_on().at((32, 48)) == side_on()


@FAMILIES
@settings(max_examples=20)
@given(count=st.integers(1, 40))
def test_views_are_as_many_as_asked_for_and_all_different(viewpoint, fixed, count):
    views = viewpoint.views(count)
    assert len(set(views)) == len(views) == count
    assert views[:fixed] == viewpoint.fixed_views[:count]
    assert all(view.draw is not None for view in views[fixed:])


@settings(max_examples=20)
@given(fewer=st.integers(1, 20), more=st.integers(0, 20))
def test_more_views_begin_with_the_fewer(fewer, more):
    assert side_on().views(fewer + more)[:fewer] == side_on().views(fewer)


def test_a_subclass_whose_views_a_run_would_lose_is_refused():
    with pytest.raises(DeclarationError, match=r"Corners .*`pipeline`.*`tta`"):
        type("Corners", (Viewpoint,), {"fixed_views": (View(),)})
