"""My Competition: what is to be predicted, and the metric.

    make my-competition

Copy this folder to competitions/<name>, and make every line below say what your competition is.
"""

from comp import Competition, CsvLabels, ProbabilityPerClass, Recipe, Stage, TestImages, side_on

competition = Competition(
    name="my-competition",  # the folder's name, with - for _
    kaggle="the-slug-in-its-address",
    # Or FileNames("train/{label}.*.jpg"), Folders("train"), CsvLabels(..., separator=" ") for tags,
    # LabelFunction(your_function).
    labels=CsvLabels("train.csv", image="id", label="label", folder="train", suffix=".jpg"),
    test=TestImages("test", suffix=".jpg"),
    submission=ProbabilityPerClass(),  # or ProbabilityOf("class"), ClassName(), TagNames(" ")
    sample_submission="sample_submission.csv",
    augment=side_on(max_zoom=1.1),  # or top_down() for satellites and microscopes, upright() for text
    layer_lr_ratio=10,  # 3 where images look little like ImageNet's
    metric="log_loss",  # or accuracy, macro_f1, quadratic_kappa, roc_auc, mean_columnwise_roc_auc, mean_f1, mean_f2
    recipes={
        "quick": Recipe(
            backbone="mobilenetv2_100.ra_in1k",
            dropout=0.5,
            stages=[Stage(size=224, train="head", cached=True, views=2, schedule="one_cycle", cycle_length=20)],
        ),
        "standard": Recipe(
            backbone="resnet34.a1_in1k",
            dropout=0.5,
            stages=[
                Stage(size=224, train="head", cached=True, views=2, cycle_length=5),
                Stage(size=224, train="all", cycles=3, cycle_length=1, cycle_multiplier=2, learning_rate=3e-4),
            ],
        ),
    },
)
