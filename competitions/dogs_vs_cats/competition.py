"""Dogs vs. Cats Redux: is it a dog? Log loss of the probability.

make dogs-vs-cats
"""

from comp import Competition, FileNames, ProbabilityOf, Recipe, Stage, TestImages, side_on

quick = Recipe(
    backbone="mobilenetv2_100.ra_in1k",
    batch_size=32,
    dropout=0.7,
    stages=[
        Stage(size=224, train="head", cached=True, views=2, schedule="one_cycle", cycle_length=40, learning_rate=1e-3)
    ],
)
standard = Recipe(
    backbone="resnet34.a1_in1k",
    dropout=0.5,
    stages=[
        Stage(size=224, train="head", cached=True, views=2, cycle_length=5),
        Stage(size=224, train="all", cycles=3, cycle_length=1, cycle_multiplier=2),
    ],
    on_cpu=Recipe(
        backbone="mobilenetv2_100.ra_in1k",
        batch_size=32,
        dropout=0.7,
        stages=[Stage(size=256, train="head", cached=True, views=2, schedule="one_cycle", cycle_length=40)],
    ),
)

competition = Competition(
    name="dogs-vs-cats",
    kaggle="dogs-vs-cats-redux-kernels-edition",
    labels=FileNames("train/{label}.*.jpg"),
    test=TestImages("test", suffix=".jpg"),
    submission=ProbabilityOf("dog"),
    augment=side_on(max_zoom=1.1),
    layer_lr_ratio=10,
    metric="log_loss",
    recipes={"quick": quick, "standard": standard},
)
