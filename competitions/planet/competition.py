"""Planet: Understanding the Amazon from Space. 17 tags per satellite chip, mean F2.

make planet
"""

from comp import Competition, CsvLabels, KaggleDataset, Recipe, Stage, TagNames, TestImages, top_down

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
    augment=top_down(max_zoom=1.05),
    layer_lr_ratio=3,
    metric="mean_f2",
    recipes={
        "quick": Recipe(
            backbone="mobilenetv2_100.ra_in1k",
            batch_size=16,
            dropout=0.5,
            stages=[
                Stage(
                    size=192,
                    train="head",
                    cached=True,
                    views=2,
                    schedule="one_cycle",
                    cycle_length=20,
                    learning_rate=1e-3,
                ),
                Stage(size=192, train="all", schedule="one_cycle", cycle_length=4, learning_rate=1e-3),
            ],
        ),
        "standard": Recipe(
            backbone="resnet34.a1_in1k",
            dropout=0.5,
            stages=[
                Stage(size=size, train=train, cycles=3, cycle_length=1, cycle_multiplier=2)
                for size in (64, 128, 256)
                for train in ("head", "all")
            ],
        ),
    },
)
