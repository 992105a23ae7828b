"""Dogs vs. Cats Redux: is it a dog? Log loss of the probability.

make dogs-vs-cats
"""

from comp import Competition, Ensemble, FileNames, ProbabilityOf, Recipe, Stage, TestImages, side_on

BACKBONES = ["tf_efficientnet_lite2.in1k", "mobilenetv2_100.ra_in1k", "tf_efficientnet_lite0.in1k"]


def head(size: str, views: int = 2) -> Recipe:
    """The optimum of a linear head on features of photographs like those of the pretraining."""
    return Recipe(
        backbone=BACKBONES[0],
        stages=[Stage(size=size, train="head", cached=True, views=views, schedule="lbfgs")],
    )


quick, large = head("native", views=1), head("1.15x")
standard = Recipe(
    backbone="resnet34.a1_in1k",
    dropout=0.5,
    stages=[
        Stage(size=224, train="head", cached=True, views=2, cycle_length=5),
        Stage(size=224, train="all", cycles=3, cycle_length=1, cycle_multiplier=2),
    ],
    on_cpu=large,
)
strong = Ensemble(members=[head("native"), large], backbones=BACKBONES)

competition = Competition(
    name="dogs-vs-cats",
    kaggle="dogs-vs-cats-redux-kernels-edition",
    labels=FileNames("train/{label}.*.jpg"),
    test=TestImages("test", suffix=".jpg"),
    submission=ProbabilityOf("dog"),
    augment=side_on(max_zoom=1.1),
    layer_lr_ratio=10,
    metric="log_loss",
    recipes={"quick": quick, "standard": standard, "strong": strong},
)
