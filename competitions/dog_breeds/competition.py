"""Dog Breed Identification: which breed is it? Multi-class log loss.

make dog-breeds
"""

from comp import Competition, CsvLabels, ProbabilityPerClass, Recipe, Stage, TestImages, side_on

competition = Competition(
    name="dog-breeds",
    kaggle="dog-breed-identification",
    labels=CsvLabels("labels.csv", image="id", label="breed", folder="train", suffix=".jpg"),
    test=TestImages("test", suffix=".jpg"),
    submission=ProbabilityPerClass(),
    augment=side_on(max_zoom=1.1),
    layer_lr_ratio=10,
    metric="log_loss",
    recipes={
        "quick": Recipe(
            backbone="mobilenetv2_100.ra_in1k",
            batch_size=32,
            dropout=0.5,
            stages=[
                Stage(
                    size=224,
                    train="head",
                    cached=True,
                    views=2,
                    schedule="one_cycle",
                    cycle_length=30,
                    learning_rate=1e-3,
                )
            ],
        ),
        "standard": Recipe(
            backbone="resnext50_32x4d.a1h_in1k",
            dropout=0.5,
            stages=[
                Stage(size=224, train="head", cached=True, views=2, cycle_length=5),
                Stage(size=224, train="head", cycles=3, cycle_length=1, cycle_multiplier=2),
                Stage(size=299, train="head", cycles=3, cycle_length=1, cycle_multiplier=2),
            ],
        ),
    },
)
