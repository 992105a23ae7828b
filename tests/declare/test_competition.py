import os
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from comp.declare.competition import (
    REPOSITORY_COMPETITIONS,
    Competition,
    competition_named,
    find_competitions,
    load_competition,
)
from comp.declare.forms import (
    ClassName,
    ClassWithConfidence,
    ProbabilityOf,
    ProbabilityPerClass,
    TagNames,
    TopClasses,
)
from comp.declare.labels import CsvLabels, Folders, TestImages
from comp.declare.metrics import METRICS, TARGETS_OF, Metric
from comp.declare.recipe import Recipe, Stage
from comp.errors import DeclarationError

RECIPE = Recipe(stages=[Stage(size=64, train="head")])
TAGS = CsvLabels("train.csv", image="id", label="tags", separator=" ", folder="train")


def declare(**fields):
    return Competition(
        **{
            "name": "two-cats",
            "kaggle": "two-cats-2026",
            "labels": Folders("train"),
            "test": TestImages("test"),
            "submission": ProbabilityOf("cat"),
            "metric": "log_loss",
            "recipes": {"standard": RECIPE},
            **fields,
        }
    )


DECLARATION = """
from comp import Competition, Folders, ProbabilityOf, Recipe, Stage, TestImages

competition = Competition(
    name="two-cats",
    kaggle="two-cats-2026",
    labels=Folders("train"),
    test=TestImages("test"),
    submission=ProbabilityOf("cat"),
    metric="log_loss",
    recipes={"standard": Recipe(stages=[Stage(size=64, train="head")])},
)
"""


def write_plugin(root, name="two_cats", text=DECLARATION):
    (root / name).mkdir(parents=True)
    path = root / name / "competition.py"
    path.write_text(text)
    return path


def test_a_declaration_tells_its_target_and_its_metric():
    assert declare().target == "single"
    assert declare().scoring is METRICS["log_loss"]
    assert declare(labels=TAGS, submission=TagNames(), metric="mean_f2").target == "multi"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"metric": "mean_f2"}, "`metric`"),
        ({"labels": TAGS, "submission": TagNames(), "metric": "accuracy"}, "`metric`"),
        ({"labels": TAGS, "metric": "log_loss"}, "`submission`"),
        ({"submission": TagNames()}, "`submission`"),
        ({"submission": ClassName()}, "`submission`"),
        ({"metric": "accuracy"}, "`submission`"),
        ({"metric": Metric("mine", "tags", higher_is_better=True, score=max)}, "`metric`"),
        ({"submission": ClassName, "metric": "accuracy"}, "`submission`"),
        ({"labels": SimpleNamespace(target="numbers", read=print)}, "`labels`"),
        ({"labels": TAGS, "submission": ProbabilityPerClass(), "metric": "mean_f2"}, "`submission`"),
    ],
)
def test_labels_metric_and_form_that_do_not_go_together_are_named(fields, named):
    with pytest.raises(DeclarationError, match=named):
        declare(**fields)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_every_metric_has_a_form_that_carries_it(metric):
    forms = [ProbabilityPerClass(), ClassName(), TagNames(), TopClasses(5), ClassWithConfidence()]
    own = dict.fromkeys(("encode", "decode", "classes_in"), print)
    forms.append(SimpleNamespace(takes="numbers", targets=TARGETS_OF["numbers"], **own))
    for target in metric.targets:
        labels = SimpleNamespace(target=target, read=print)
        form = next(form for form in forms if form.takes == metric.takes and target in form.targets)
        assert declare(labels=labels, submission=form, metric=metric.name).scoring is metric


def test_plugins_are_found_by_folder_and_dashes_stand_for_underscores(tmp_path):
    path = write_plugin(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "competition.py").write_text("")
    assert find_competitions(tmp_path) == {"two-cats": path}


def test_a_later_folder_goes_before_an_earlier_one(tmp_path):
    write_plugin(tmp_path / "ours")
    theirs = write_plugin(tmp_path / "theirs")
    assert find_competitions(tmp_path / "ours", tmp_path / "theirs") == {"two-cats": theirs}


def test_a_folder_of_plugins_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DeclarationError, match="nowhere"):
        find_competitions(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["two-cats", "two_cats"])
def test_a_plugin_is_loaded_by_its_name(tmp_path, name):
    write_plugin(tmp_path)
    assert competition_named(name, tmp_path) == replace(declare(), recipes={"standard": RECIPE})


def test_an_unknown_name_is_told_the_known_ones(tmp_path):
    write_plugin(tmp_path)
    write_plugin(tmp_path, "an_other")
    with pytest.raises(DeclarationError, match=r"'three-cats'; there are an-other, two-cats"):
        competition_named("three-cats", tmp_path)


def test_an_unknown_competition_of_many_is_told_the_nearest_names_alone(tmp_path):
    for name in ("plankton", "dogs_vs_cats", *(f"other_{number}" for number in range(20))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "competition.py").touch()
    with pytest.raises(DeclarationError) as raised:
        competition_named("planton", tmp_path)
    assert "plankton" in str(raised.value)
    assert "other-1" not in str(raised.value)
    with pytest.raises(DeclarationError, match="dogs-vs-cats"):
        competition_named("cats", tmp_path)
    with pytest.raises(DeclarationError, match=r"22.*`comp list`"):
        competition_named("zzz", tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DECLARATION.replace("two-cats", "three-cats"), "`name` is 'three-cats', but its folder says 'two-cats'"),
        ("competition = Competition(", "SyntaxError"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("", "should set `competition = Competition"),
        ("competition = 'two-cats'", "should set `competition = Competition"),
        (DECLARATION.replace('"log_loss"', '"logloss"'), "`metric` is 'logloss'"),
        (DECLARATION.replace("size=64", "size=0"), "`size` is 0"),
        (DECLARATION.replace("metric=", "metrik="), "did you mean `metric`?"),
        ("from comp import side_on\nside_on(zoom=2)", "side_on has no field `zoom`; did you mean `max_zoom`?"),
        ("len(key=2)", "TypeError: len() takes no keyword arguments."),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_named_with_the_reason(tmp_path, text, said):
    path = write_plugin(tmp_path, text=text)
    with pytest.raises(DeclarationError) as error:
        load_competition(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_the_repositorys_own_plugins_load():
    found = find_competitions(REPOSITORY_COMPETITIONS)
    assert {load_competition(declaration).name for declaration in found.values()} == set(found) != set()


def test_a_competition_knows_the_source_in_its_folder(tmp_path):
    folder = tmp_path / "digits"
    shutil.copytree(REPOSITORY_COMPETITIONS / "digits", folder)
    before = load_competition(folder / "competition.py").source
    (folder / "README.md").write_text("Other words.")
    assert load_competition(folder / "competition.py").source == before
    (folder / "losses.py").write_text("def focal(logits, targets): ...\n")
    assert load_competition(folder / "competition.py").source != before


def test_an_edit_of_the_same_second_and_length_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = shutil.copytree(REPOSITORY_COMPETITIONS / "digits", tmp_path / "digits")
    declaration = folder / "competition.py"
    assert load_competition(declaration).layer_lr_ratio == 1
    times = declaration.stat().st_atime_ns, declaration.stat().st_mtime_ns
    declaration.write_text(declaration.read_text().replace("layer_lr_ratio=1,", "layer_lr_ratio=2,"))
    os.utime(declaration, ns=times)
    assert load_competition(declaration).layer_lr_ratio == 2
