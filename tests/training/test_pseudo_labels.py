import numpy as np
import pytest
import torch

from comp.errors import OverrideError, RunError
from comp.runs.choices import Choices
from comp.runs.resolve import resolve
from comp.submission.outputs import Outputs
from comp.submission.predictions import read_predictions, write_predictions
from comp.training.config import config_of
from comp.training.pseudo_labels import pseudo_labels_of

HALF = np.where(np.arange(36) % 2, "valid", "train")
COLOURS = ("blue", "green", "red")
THIRD = np.arange(1, 36, 3)


def says(run, probabilities, ids=None):
    """The run, predicting these probabilities for the test images."""
    ids = [f"q{number:02}" for number in range(len(probabilities))] if ids is None else ids
    write_predictions(run.predictions("test"), ids, np.asarray(probabilities), COLOURS)
    return run


def truth(sure=1.0):
    """Of the test images."""
    places = np.array([list(COLOURS).index(("red", "green", "blue")[number * number % 3]) for number in range(12)])
    return np.where(np.eye(3)[places] > 0, sure, (1 - sure) / 2), places


def pseudo_labels(made, teacher, *settings, validating=(), kind="softmax"):
    _, recipe = resolve(made.competition, Choices(settings=settings))
    return pseudo_labels_of(teacher, recipe, made.tables, np.array(validating, np.int64), Outputs(kind, 3))


def test_a_training_learns_what_its_teacher_says_where_labels_say_nothing(made, shades, train):
    colours = [COLOURS[number // 12] for number in range(36)]  # each colour's images have all three labels
    shades.text("train.csv", ["id,colour", *(f"t{number:02},{colour}" for number, colour in enumerate(colours))])
    (made.workspace.data("shades") / "train.csv").write_bytes((shades.files / "train.csv").read_bytes())
    probabilities, places = truth()
    teacher = says(made.run(HALF), probabilities)
    right = {}
    for name, chosen in (("alone", None), ("taught", teacher)):
        lbfgs = {"settings": ["stages.schedule=lbfgs"], "all_data": True}
        run = train(made.competition, predicting=True, teacher=chosen, **lbfgs)
        right[name] = (read_predictions(run.predictions("test")).to_numpy().argmax(axis=1) == places).mean()
    assert right["taught"] > 0.9 > right["alone"]
    assert run.record("config")["teacher"]["run"] == teacher.name


def test_it_is_learned_from_images_that_the_teacher_is_sure_of(made):
    probabilities = np.full((12, 3), 1 / 3)
    probabilities[[2, 7]] = [0.9, 0.05, 0.05]
    teacher = says(made.run(HALF), probabilities)
    assert list(pseudo_labels(made, teacher).confident) == list(range(12))
    sure = pseudo_labels(made, teacher, "teacher_confidence=0.8")
    assert list(sure.confident) == [2, 7]
    targets, training = sure.added_to(torch.tensor([0, 2]), np.array([1]))
    assert targets.shape == (14, 3)
    assert torch.equal(targets[:2], torch.eye(3)[[0, 2]])
    assert list(training) == [1, 4, 9]
    assert torch.allclose(targets[training[1:]], torch.tensor([0.9, 0.05, 0.05]))


def test_of_folds_that_one_teaches_which_left_out_the_same_images(made):
    folds = [made.run(np.where(np.arange(36) % 3 == fold, "valid", "train")) for fold in range(3)]
    joined = made.run(np.full(36, "valid"), kind="folds", members=[fold.name for fold in folds])
    for number, fold in enumerate(folds):
        says(fold, np.tile(np.eye(3)[number], (12, 1)))
    found = pseudo_labels(made, joined, validating=THIRD)
    assert torch.equal(found.targets[0], torch.eye(3)[1])
    assert not any("too good" in line for line in found.lines)
    assert any("too good" in line for line in pseudo_labels(made, joined, validating=[0, 1]).lines)


def test_a_teacher_may_know_images_from_its_own_teacher_or_from_that_of_a_member(made):
    third = np.where(np.arange(36) % 3 == 1, "valid", "train")
    alone, saw_all = made.run(third), made.run(["train"] * 36)
    says(alone, truth()[0])
    taught, told = (made.run(third, teacher={"run": teacher.name}) for teacher in (alone, saw_all))
    clean, leaky, mixed = (
        made.run(third, kind="ensemble", members=[one.name, other.name])
        for one, other in ((alone, taught), (told, told), (told, alone))
    )
    for teacher, leaks in ((taught, False), (clean, False), (told, True), (leaky, True)):
        found = pseudo_labels(made, says(teacher, truth()[0]), validating=THIRD)
        assert any("too good" in line for line in found.lines) == leaks
        assert f"pseudo-labelled by {teacher.name}" in found.lines[0]
    # A member that doesn't know them teaches instead.
    (line,) = pseudo_labels(made, says(mixed, truth()[0]), validating=THIRD).lines
    assert f"pseudo-labelled by {alone.name}" in line


@pytest.mark.parametrize("field", ["split_of", "members"])  # members: of an earlier version
def test_what_another_program_predicted_is_taught_and_not_the_run_whose_split_it_has(made, field):
    fold = says(made.run(np.where(np.arange(36) % 3 == 1, "valid", "train")), np.full((12, 3), 1 / 3))
    names = {"split_of": fold.name, "members": [fold.name]}
    imported = made.run(np.full(36, "valid"), name="import", kind="import", **{field: names[field]})
    says(imported, truth()[0])
    taught = pseudo_labels(made, imported, validating=THIRD)
    assert (taught.targets.argmax(dim=1).numpy() == truth()[1]).all()
    assert any("too good" in line for line in taught.lines)


def test_another_word_of_the_teacher_is_another_training(made, preparing):
    teacher, records = made.run(HALF), []
    for sure in (0.9, 0.9, 0.8):
        says(teacher, truth(sure)[0])
        records.append(config_of(preparing(made.competition, teacher=teacher))["teacher"])
    assert records[0] == records[1] != records[2]


@pytest.mark.parametrize(
    ("how", "error", "named"),
    [
        ({"kind": "numbers"}, OverrideError, "numbers"),
        ({"settings": ["loss=asymmetric"]}, OverrideError, "asymmetric"),
        ({"settings": ["teacher_confidence=0.99"]}, OverrideError, "teacher_confidence.*0.99"),
        ({"ids": [f"other{number}" for number in range(12)]}, RunError, "other classes or images"),
    ],
)
def test_a_teacher_that_has_nothing_to_teach_here_is_refused(made, how, error, named):
    teacher = says(made.run(HALF), truth(0.9)[0], how.get("ids"))
    with pytest.raises(error, match=named):
        pseudo_labels(made, teacher, *how.get("settings", ()), kind=how.get("kind", "softmax"))


def test_ranks_are_no_probabilities_to_learn(made):
    member = says(made.run(HALF), truth(0.9)[0])
    ranked = says(made.run(HALF, how="ranks", members=[member.name]), truth(0.9)[0])
    blend = says(made.run(HALF, how="logits", members=[ranked.name]), truth(0.9)[0])
    for teacher in (ranked, blend):
        with pytest.raises(OverrideError, match=f"{ranked.name} averages ranks.*{member.name} --how mean"):
            pseudo_labels(made, teacher)


def test_the_command_of_a_taught_run_names_its_teacher(made):
    teacher = made.run(HALF)
    assert Choices(teacher=teacher).options()[-2:] == ["--teacher", teacher.name]
