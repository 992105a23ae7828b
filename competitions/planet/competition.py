"""Planet: Understanding the Amazon from Space. 17 tags per satellite chip, mean F2.

make planet
"""

from comp import Competition, CsvLabels, Ensemble, KaggleDataset, Recipe, Stage, TagNames, TestImages, top_down

BACKBONE = "mobilenetv2_100.ra_in1k"
# Not solved by L-BFGS, which makes losses lower but F2 worse.
head = Stage(
    size="native", train="head", cached=True, views=2, schedule="one_cycle", cycle_length=20, learning_rate=1e-3
)
late = Stage(size="native", train=2, cached=True, views=8, schedule="one_cycle", cycle_length=8, learning_rate=1e-3)
late_in_cycles = Stage(size="native", train=2, cached=True, views=8, cycles=3, cycle_length=8, learning_rate=1e-3)


def on_two_cores(late_half: Stage) -> Recipe:
    """A head on cached features, then the late half of the backbone with it."""
    return Recipe(
        backbone=BACKBONE,
        batch_size=16,
        dropout=0.5,
        freeze_batch_norm=True,
        snapshots=late_half.cycles,
        stages=[head, late_half],
    )


frozen = Recipe(backbone=BACKBONE, stages=[Stage(size="native", train="head", cached=True, views=8, schedule="lbfgs")])
quick = on_two_cores(late)
cycles = on_two_cores(late_in_cycles)
standard = Recipe(
    backbone="resnet34.a1_in1k",
    dropout=0.5,
    stages=[
        Stage(size=size, train=train, cycles=3, cycle_length=1, cycle_multiplier=2)
        for size in (64, 128, 256)
        for train in ("head", "all")
    ],
    on_cpu=cycles,
)
strong = Ensemble(
    members=[quick, frozen, cycles], backbones=["tf_efficientnet_lite2.in1k", BACKBONE, "tf_efficientnet_lite0.in1k"]
)

competition = Competition(
    name="planet",
    kaggle="planet-understanding-the-amazon-from-space",
    extra_data=[KaggleDataset("nikitarom/planets-dataset")],  # the competition itself serves only CSVs and torrents
    labels=CsvLabels(
        "train_v2.csv", image="image_name", label="tags", separator=" ", folder="planet/planet/train-jpg", suffix=".jpg"
    ),
    test=TestImages("planet/planet/test-jpg", suffix=".jpg"),
    submission=TagNames(" "),
    sample_submission="sample_submission_v2.csv",
    augment=top_down(max_zoom=1, max_rotation=0, max_light=0),  # only the eight symmetries: more lowers F2
    layer_lr_ratio=3,
    metric="mean_f2",
    recipes={"quick": quick, "standard": standard, "strong": strong},
)
