"""The written declaration is Python that says the same."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import comp
from comp.declare.competition import REPOSITORY_COMPETITIONS, Competition, find_competitions, load_competition
from comp.declare.forms import ClassName, ClassNumber, ProbabilityOf, TagNames
from comp.declare.labels.columns import CsvColumns, CsvLabels
from comp.declare.labels.files import FileNames, Folders, TestImages
from comp.declare.viewpoint import side_on, top_down, upright
from comp.errors import DeclarationError
from comp.new.inference import Finding, InferredDeclaration
from comp.new.recipes import recipes_for
from comp.new.writing import assignment, words_in, write

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
RECIPES = recipes_for((300, 400), 500, like_photographs=False)[0]


@st.composite
def competitions(draw, text=TEXT):
    """Competitions with names that nobody would think of."""
    names = st.lists(text, min_size=2, max_size=12, unique=True)
    csv = {"csv": draw(text), "image": draw(text), "folder": draw(text), "suffix": draw(st.sampled_from(["", ".png"]))}
    tags = CsvLabels(**csv, label=draw(text), separator=draw(text), group=draw(st.none() | text))
    single = draw(
        st.sampled_from(
            [
                CsvLabels(**csv, label=draw(text), shared=draw(st.booleans())),
                CsvColumns(**csv, labels=draw(names)),
                Folders(draw(text)),
                FileNames("train/{label}.*.jpg"),
            ]
        )
    )
    forms = [(ClassName(), "accuracy"), (ClassNumber(draw(names)), "macro_f1"), (ProbabilityOf(draw(text)), "log_loss")]
    labels, (form, metric) = draw(
        st.sampled_from([(single, pair) for pair in forms] + [(tags, (TagNames(draw(text)), "mean_f2"))])
    )
    return Competition(
        name="mine",
        kaggle="mine",
        labels=labels,
        test=TestImages(draw(text), with_suffix=draw(st.booleans())),
        submission=form,
        metric=metric,
        recipes=RECIPES,
        sample_submission=draw(text),
        layer_lr_ratio=draw(st.floats(1, 1e6)),
        augment=draw(st.sampled_from([side_on(), top_down(max_zoom=1.0000001), upright(max_rotation=0)])),
    )


def loaded(text):
    names = {name: getattr(comp, name) for name in comp.__all__}
    exec(text, names)
    return names["competition"]


@settings(max_examples=30, deadline=None)
@given(competitions())
def test_the_source_of_a_declaration_is_read_back_as_the_same(competition):
    text = assignment("competition", competition, {})
    assert loaded(text) == competition
    assert words_in(text) <= set(comp.__all__)


@pytest.mark.parametrize("name", find_competitions(REPOSITORY_COMPETITIONS))
def test_the_source_of_the_repository_s_own_declarations_is_read_back_as_the_same(name):
    competition = load_competition(find_competitions(REPOSITORY_COMPETITIONS)[name])
    assert loaded(assignment("competition", competition, {})) == competition


HOSTILE = 'A "new"\nline """ \\ {{ 7 * 7 }} {% raw %} \u2013 <b> `x`'


def test_a_title_from_kaggle_stays_text(tmp_path):
    competition = Competition(
        name="mine",
        kaggle="mine",
        labels=Folders("train"),
        test=TestImages("test"),
        submission=ClassName(),
        metric="accuracy",
        recipes=RECIPES,
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
