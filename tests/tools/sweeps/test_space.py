import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from comp.declare.competition import REPOSITORY_COMPETITIONS, competition_named
from comp.declare.recipe import Recipe, Stage
from comp.errors import OverrideError
from comp.tools.sweeps.space import Dimension, read_space

RECIPE = Recipe(
    stages=[Stage(size=64, train="head", learning_rate=1e-3), Stage(size=96, train="all")], dropout=0.3, batch_size=16
)


@pytest.fixture(scope="module")
def planet():
    return competition_named("planet", REPOSITORY_COMPETITIONS)


@pytest.mark.parametrize(
    ("text", "drawn_from", "declared"),
    [
        ("dropout=0.2..0.8", FloatDistribution(0.2, 0.8), 0.3),
        ("dropout = 0.4..0.8", FloatDistribution(0.4, 0.8), None),
        ("batch_size=8..32", IntDistribution(8, 32), 16),
        ("batch_size=8,16", CategoricalDistribution(("8", "16")), "16"),
        ("weight_decay=1e-4..1:log", FloatDistribution(1e-4, 1.0, log=True), 0.01),
        ("stages.1.learning_rate=1e-4..1e-2:log", FloatDistribution(1e-4, 1e-2, log=True), 1e-3),
        ("stages.learning_rate=find,0.001", CategoricalDistribution(("find", "0.001")), None),
        ("stages.cycles=1,2", CategoricalDistribution(("1", "2")), "1"),
        ("stages.2.learning_rate=1e-4..1e-2", FloatDistribution(1e-4, 1e-2), None),
        ("optimizer=adamw,sgd", CategoricalDistribution(("adamw", "sgd")), "adamw"),
        ("pretrained=yes,no", CategoricalDistribution(("yes", "no")), "yes"),
        ("augment.max_zoom=1..1.3", FloatDistribution(1.0, 1.3), 1),
        ("layer_lr_ratio=3,10", CategoricalDistribution(("3", "10")), "3"),
    ],
)
def test_a_space_is_read_with_what_the_recipe_says(planet, text, drawn_from, declared):
    field = text.partition("=")[0].strip()
    assert read_space([text], planet, RECIPE) == [Dimension(field, drawn_from, declared)]


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["dropout"], "--space takes field=low..high or field=a,b,c, but 'dropout' was given"),
        (["dropout="], "--space takes field=low..high or field=a,b,c, but 'dropout=' was given"),
        (["drop=0..1"], "--space drop=0..1: there is no field 'drop'; did you mean dropout=0..1?"),
        (["dropout=0..1"], r"--space dropout=0..1: Recipe: `dropout` is 1"),
        (["dropout=0..a"], "--space dropout=0..a: Recipe: `dropout` is 'a'"),
        (["dropout=0.5..0.2"], "the ends are 0.5 and 0.2, but they should rise"),
        (["weight_decay=0..1:log"], "the ends are 0 and 1, but they should be above 0 and rise"),
        (["batch_size=16"], "name at least two values, each once, or low..high"),
        (["batch_size=16,16"], "name at least two values, each once, or low..high"),
        (["batch_size=16,1"], "--space batch_size=16,1: Recipe: `batch_size` is 1"),
        (["optimizer=adamw..sgd"], "'optimizer' is no number, so name its values, as in optimizer=a,b"),
        (["dropout=0..0.1", "dropout=0.2..0.3"], "--space dropout is given twice"),
        ([], "There is nothing to search; give a --space"),
    ],
)
def test_what_is_wrong_with_a_space_is_one_sentence(planet, texts, sentence):
    with pytest.raises(OverrideError, match=sentence) as raised:
        read_space(texts, planet, RECIPE)
    assert str(raised.value).endswith((".", "?"))
