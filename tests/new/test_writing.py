"""The written declaration is Python code that loads as the same declaration."""

from dataclasses import replace

import pytest

import comp
from comp.declare.competition import REPOSITORY_COMPETITIONS, Competition, find_competitions, load_competition
from comp.declare.forms import ClassNumber
from comp.declare.labels.columns import CsvLabels
from comp.declare.labels.files import TestImages
from comp.declare.viewpoint import top_down
from comp.errors import DeclarationError
from comp.new.inference import Finding, InferredDeclaration
from comp.new.recipes import recipes_for
from comp.new.writing import assignment, commands_of, write

RECIPES = recipes_for((300, 400), 500, 3, like_photographs=False)[0]
HOSTILE = 'A "new"\nline """ \\ {{ 7 * 7 }} {% raw %} \u2013 <b> `x`'


def loaded(text):
    names = {name: getattr(comp, name) for name in comp.__all__}
    exec(text, names)
    return names["competition"]


@pytest.mark.parametrize("name", find_competitions(REPOSITORY_COMPETITIONS))
def test_the_source_of_the_repository_s_own_declarations_is_read_back_as_the_same(name):
    competition = load_competition(find_competitions(REPOSITORY_COMPETITIONS)[name])
    assert loaded(assignment("competition", competition, {})) == competition


def test_titles_and_names_from_kaggle_stay_text(tmp_path):
    competition = Competition(
        name="mine",
        kaggle="mine",
        labels=CsvLabels(HOSTILE, image=HOSTILE, label=HOSTILE, folder=HOSTILE, suffix=".png", group=HOSTILE),
        test=TestImages("test", with_suffix=True),
        submission=ClassNumber([HOSTILE, "b"]),
        metric="accuracy",
        recipes=RECIPES,
        layer_lr_ratio=1e6,
        augment=top_down(max_zoom=1.0000001),
    )
    inferred = InferredDeclaration(competition, HOSTILE, HOSTILE * 5, (Finding("metric", HOSTILE, sure=False),))
    written = write(inferred, tmp_path / "mine")
    assert load_competition(written) == competition
    assert "{{ 7 * 7 }}" in written.read_text()
    assert all(len(line) <= 120 for line in written.read_text().splitlines())
    assert "- metric: A 'new' line ''' / {{ 7 * 7 }}" in (tmp_path / "mine" / "README.md").read_text()


def test_nothing_half_written_stays(tmp_path):
    competition = load_competition(find_competitions(REPOSITORY_COMPETITIONS)["digits"])
    with pytest.raises(DeclarationError, match="its folder says"):
        write(InferredDeclaration(replace(competition, name="others"), "", "digits", ()), tmp_path / "another")
    assert not list(tmp_path.iterdir())


def test_the_commands_that_are_named_next_find_the_competition(tmp_path):
    assert commands_of("mine", REPOSITORY_COMPETITIONS) == ("comp explore mine", "make mine", "make mine-submit")
    assert commands_of("mine", tmp_path)[1] == f"comp --competitions {tmp_path} run mine"
