"""Dog Breed Identification: which breed is it? Multi-class log loss.

make dog-breeds
"""

from comp import Competition, CsvLabels, Ensemble, ProbabilityPerClass, Recipe, Stage, TestImages, side_on

BACKBONES = ["mobilenetv2_100.ra_in1k", "tf_efficientnet_lite2.in1k", "tf_efficientnet_lite0.in1k"]


def head(size: str, backbone: str = BACKBONES[0]) -> Recipe:
    """The photographs come from ImageNet, so the head starts from its classifier, and stays near it."""
    return Recipe(
        backbone=backbone,
        head="pretrained",
        stages=[Stage(size=size, train="head", cached=True, views=2, schedule="lbfgs")],
    )


quick, large = head("native"), head("1.15x")
standard = Recipe(
    backbone="resnext50_32x4d.a1h_in1k",
    head="pretrained",
    dropout=0.5,
    stages=[
        Stage(size=224, train="head", cached=True, views=2, cycle_length=5, learning_rate=3e-4),
        Stage(size=224, train="head", cycles=3, cycle_length=1, cycle_multiplier=2, learning_rate=3e-4),
        Stage(size=299, train="head", cycles=3, cycle_length=1, cycle_multiplier=2, learning_rate=3e-4),
    ],
    on_cpu=head("1.15x", BACKBONES[1]),
)
strong = Ensemble(members=[quick, large], backbones=BACKBONES)

competition = Competition(
    name="dog-breeds",
    kaggle="dog-breed-identification",
    labels=CsvLabels("labels.csv", image="id", label="breed", folder="train", suffix=".jpg"),
    test=TestImages("test", suffix=".jpg"),
    submission=ProbabilityPerClass(),
    augment=side_on(max_zoom=1.1),
    layer_lr_ratio=10,
    metric="log_loss",
    recipes={"quick": quick, "standard": standard, "strong": strong},
)
