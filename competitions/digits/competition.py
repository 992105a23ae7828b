"""Digits: which digit is it? Accuracy. The local Kaggle serves it, without a network.

make demo
"""

from comp import ClassName, Competition, CsvLabels, Recipe, Stage, TestImages, upright

scratch = Recipe(
    backbone="resnet10t",
    pretrained=False,
    batch_size=64,
    stages=[
        Stage(size=16, train="all", cycles=2, cycle_length=2, cycle_multiplier=2, learning_rate=4e-3),
        Stage(size=32, train="all", cycles=2, cycle_length=2, cycle_multiplier=2, learning_rate=4e-3),
    ],
    tta="random",
)

competition = Competition(
    name="digits",
    kaggle="digits",
    labels=CsvLabels("train.csv", image="id", label="label", folder="train", suffix=".png"),
    test=TestImages("test", suffix=".png"),
    submission=ClassName(),
    augment=upright(max_zoom=1.15, max_rotation=10, max_light=0.1),
    layer_lr_ratio=1,
    metric="accuracy",
    recipes={"quick": scratch, "standard": scratch},
)
