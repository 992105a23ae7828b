from contextlib import nullcontext

import pytest
import torch

from comp.console import Console
from comp.declare.recipe import Recipe, Stage
from comp.errors import RunError
from comp.runs.pretraining import lines_of_origin
from comp.training.backbone import build_classifier, set_size
from comp.training.exporting import export_backbone
from comp.training.predicting import Trained, kept_learners
from tests.cli.conftest import files_of_at_most

IMAGES = torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def exported(competition, run, folder):
    export_backbone(competition, run, folder, Console())
    return f"local-dir:{folder}"


@pytest.mark.parametrize(("backbone", "size", "head"), [("test_resnet", 32, "gem"), ("test_vit", 48, "linear")])
def test_another_training_starts_from_the_features_that_the_run_ended_with(
    with_stages, train, tmp_path, backbone, size, head
):
    stage = Stage(size=size, train="all", learning_rate=0.01)
    competition = with_stages(stage, backbone=backbone, head=head)
    run = train(competition)
    folder = exported(competition, run, tmp_path / "backbone")
    model = next(kept_learners(Trained.of(run, competition), Console())).model
    again = build_classifier(Recipe(backbone=folder, stages=[stage]), torch.zeros(3).numpy())
    set_size(again, size)
    ours, theirs = ({**one.backbone.state_dict()} for one in (model, again))
    assert ours.keys() - theirs.keys() == ({"global_pool.p"} if head == "gem" else set())
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    if head == "linear":
        with torch.no_grad():
            assert torch.equal(again.eval().features(IMAGES), model.eval().features(IMAGES))


def test_a_training_says_where_its_backbone_learned_from_images_that_validate(with_stages, train, tmp_path):
    head, every = (Stage(size=16, train=part, learning_rate=0.01) for part in ("head", "all"))

    def trained_from(backbone, stage, seed):
        return with_stages(stage, **({"backbone": backbone, "pretrained": True} if backbone else {})), {"seed": seed}

    def train_and_export(name, backbone, stage, seed):
        competition, chosen = trained_from(backbone, stage, seed)
        run = train(competition, **chosen)
        return exported(competition, run, tmp_path / name), "too good" in run.log.read_text()

    only_head, _ = train_and_export("head", None, head, 0)
    first, said = train_and_export("first", only_head, every, 1)
    assert not said
    second, said = train_and_export("second", first, every, 1)
    assert not said
    third, said = train_and_export("third", second, every, 2)
    assert said
    # The images that earlier runs learned from stay known, also where only a head trained in between.
    fourth, said = train_and_export("fourth", third, head, 2)
    assert said
    assert train_and_export("fifth", fourth, head, 2)[1]
    assert not list(lines_of_origin(first, "other", {"t00"}))


def test_what_has_no_weights_and_a_folder_that_is_there_are_refused(head, train, tmp_path):
    run = train(head)
    with pytest.raises(RunError, match="is there already"):
        exported(head, run, tmp_path)
    run.write_config({**run.record("config"), "members": ["shades/standard-9"]})
    with pytest.raises(RunError, match="shades/standard-9"):
        exported(head, run, tmp_path / "backbone")
    assert not (tmp_path / "backbone").exists()


@pytest.mark.parametrize("room", [None, 0, 1_000])
def test_a_folder_that_can_not_be_written_is_named_and_no_other(head, train, tmp_path, on_shades, room):
    run = train(head)
    with nullcontext() if room is None else files_of_at_most(room):
        said = on_shades("export", run.name, "/proc/backbone" if room is None else tmp_path / "backbone").sentence
    assert ("/proc/backbone" if room is None else str(tmp_path / "backbone")) in said
    assert "name another folder" in said
    assert "COMP_HOME" not in said
    assert not list(tmp_path.glob("*backbone*"))
