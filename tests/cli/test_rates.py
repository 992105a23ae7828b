"""The commands that show learning rates before training."""

import shutil
from pathlib import Path

from PIL import Image

from comp.runs.resolve import has_gpu


def picture(path):
    with Image.open(path) as image:
        image.load()
        return image.format, image.size


def test_lr_find_shows_the_curve_and_the_suggestions_of_a_seed_and_ends_with_a_picture(
    on_shades, downloaded, workspace
):
    source = downloaded.declaration.read_text()
    solved = "stages=[Stage(size=16, train='head', cached=True, schedule='lbfgs'), "
    alone = 'recipes={"quick": Recipe(stages=[Stage(size=16, train="head", cached=True, schedule="lbfgs")]), '
    source = source.replace("stages=[", solved).replace("recipes={", alone)
    downloaded.declaration.write_text(source)
    ended, other = (on_shades("lr-find", "shades", "--stage", 2, "--seed", seed) for seed in (4, 5))
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.splitlines()[-2] != other.out.splitlines()[-2]
    assert "loss against the learning rate" in ended.out
    for mark in "┌└1":
        assert mark in ended.out
    *_, words, path = ended.out.splitlines()
    assert words.startswith("suggestions: minimum/10 ")
    assert "; taken: " in words
    assert Path(path) == workspace.runs / "shades" / "learning-rate-standard-2.png"
    assert picture(path) == ("PNG", (960, 540))
    # Without --stage, the first stage with a rate.
    assert on_shades("lr-find", "shades", "--seed", 4).out.splitlines()[-2:] == [words, path]
    for arguments, says in [
        (("--stage", 1), "Stage 1 of 'standard' is solved by L-BFGS: no learning rate to find; choose --stage 2."),
        (("--recipe", "quick"), "All stages of 'quick' are solved by L-BFGS: no learning rate to find."),
    ]:
        assert on_shades("lr-find", "shades", *arguments).sentence == says
    assert [path.name for path in (workspace.runs / "shades").iterdir()] == ["learning-rate-standard-2.png"]
    assert on_shades("runs").out == ""


def test_schedule_draws_what_is_set_needs_no_data_and_ends_with_a_picture(comp, workspace):
    ended = comp("schedule", "planet", "--set", "stages.1.cycle_length=7")
    assert (ended.status, ended.err) == (0, "")
    assert "learning rates of early, late and head" in ended.out
    words = [line for line in ended.out.splitlines() if line.startswith("stage ")]
    assert words[0].startswith("stage 1: head at ")
    assert " px, 7 " in words[0]
    assert any("late, head" in line for line in words)
    assert Path(ended.last_line) == workspace.runs / "planet" / "schedule-standard.png"
    assert picture(ended.last_line) == ("PNG", (960, 540))
    assert not (workspace.folder / "data").exists()
    assert ("there is no GPU here" in ended.out) is not has_gpu()
    assert comp("runs").out == ""


def test_schedule_of_heads_that_are_solved_has_no_rate_to_draw(comp, workspace):
    ended = comp("schedule", "dog-breeds", "--recipe", "quick")
    assert (ended.status, ended.last_line) == (0, "stage 1: head at 224 px, solved by L-BFGS")
    assert not (workspace.runs / "dog-breeds").exists()


def test_what_can_t_be_shown_is_one_sentence(shades, on_shades, workspace):
    for arguments, says in [
        (("lr-find", "shades"), "run `comp download shades` first"),
        (("lr-find", "shades", "--set", "stages.size=soon"), "--set stages.size=soon"),
        (("schedule", "planet", "--recipe", "fast"), "planet has no recipe 'fast'; it has quick, standard"),
        (("schedule", "shades", "--set", "stages.cycles=0"), "`cycles` is 0"),
    ]:
        assert says in on_shades(*arguments).sentence
    assert not workspace.folder.exists()
    shutil.copytree(shades.files, workspace.data("shades"))
    for stage in (0, 2, -1):
        said = f"--stage is {stage}, but the recipe 'standard' has stages 1 to 1."
        assert on_shades("lr-find", "shades", "--stage", stage).sentence == said
    assert not workspace.runs.exists()
