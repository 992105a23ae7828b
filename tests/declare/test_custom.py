from functools import partial

import pytest

from comp.declare.competition import load_competition
from comp.declare.custom import name_of, recorded, short_name, with_parts
from comp.declare.recipe import Recipe, Stage
from comp.errors import RunError


def linear(step, steps):
    return 1 - step / steps


def power(of):
    return lambda step, steps: (1 - step / steps) ** of


# Two lambdas on one line, so that only their columns tell them apart.
PAIR = (lambda step, steps: 1.0, lambda step, steps: 1.0)


class Warm:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, step, steps):
        return min(1, step / self.steps)


def recipe(*schedules):
    return Recipe(stages=[Stage(size=16, train="head", schedule=schedule) for schedule in schedules])


def test_a_function_is_named_by_where_it_is_defined():
    assert name_of(linear) == f"{__name__}:linear"
    assert name_of(partial(linear, steps=3)) == f"{__name__}:linear(steps=3)"
    assert [short_name(part) for part in ("sgdr", linear, Warm, Warm(3))] == ["sgdr", "linear", "Warm", "Warm"]


def test_functions_that_differ_have_different_names():
    parts = [linear, Warm, partial(linear, 1), partial(linear, 2), power(1), power(2), *PAIR]
    assert len({name_of(part) for part in parts}) == len(parts)
    assert name_of(power(2)) == name_of(power(2))


def test_a_recipe_takes_its_functions_from_what_is_declared():
    declared = recipe(linear, "sgdr", power(2), *PAIR)
    stages = [Stage(**with_parts(record, {"standard": declared})) for record in recorded(declared)["stages"]]
    assert recipe(*(stage.schedule for stage in stages)) == declared


def test_what_is_declared_no_more_says_so_when_it_is_used():
    (record,) = recorded(recipe(linear))["stages"]
    stage = Stage(**with_parts(record, recipe("sgdr")))
    assert recorded(stage) == record
    with pytest.raises(RunError, match=r"`schedule` as .*:linear"):
        stage.schedule(0, 1)


def test_a_competition_that_is_loaded_anew_names_its_functions_the_same(shades):
    source = shades.declaration.read_text().replace("learning_rate=1e-2", "schedule=lambda step, steps: 1 / (1 + step)")
    shades.declaration.write_text(source)
    one, other = (load_competition(shades.declaration).recipes["standard"] for _ in range(2))
    assert one != other
    assert recorded(one) == recorded(other)
