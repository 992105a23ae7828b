import os
import sys
from types import SimpleNamespace

import pytest

from comp import (
    ClassName,
    CsvLabels,
    Folders,
    HiddenImages,
    HideShare,
    KnownLabels,
    Metric,
    Numbers,
    ProbabilityPerClass,
    TagNames,
)
from comp.declare.competition import competition_named, find_competitions, load_competition
from comp.declare.metrics import METRICS
from comp.errors import DeclarationError
from tests.declare.conftest import declare, scored_by

CATS = Folders("train")
TAGS = CsvLabels("train.csv", image="id", label="tags", separator=" ", folder="train")
DECLARATION = "from tests.declare.conftest import Competition, declare\n\ncompetition = declare()\n"


def write_plugin(root, name="two_cats", text=DECLARATION):
    (root / name).mkdir(parents=True)
    path = root / name / "competition.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"metric": "mean_f2"}, "`metric`"),
        ({"metric": "mcrmse", "submission": Numbers()}, "`metric` .* CsvNumbers, .* target='number'"),
        ({"labels": TAGS, "submission": TagNames(), "metric": "accuracy"}, "`metric`"),
        ({"labels": TAGS, "metric": "log_loss"}, "`submission`"),
        ({"submission": TagNames()}, "`submission`"),
        ({"submission": ClassName()}, "`submission`"),
        ({"metric": "accuracy"}, "`submission`"),
        ({"metric": Metric("mine", "tags", higher_is_better=True, score=max)}, "`metric`"),
        ({"submission": ClassName, "metric": "accuracy"}, "`submission`"),
        ({"labels": SimpleNamespace(target="numbers", read=print)}, "`labels`"),
        ({"labels": TAGS, "submission": ProbabilityPerClass(), "metric": "mean_f2"}, "`submission`"),
        ({"prepare": HideShare(0.2)}, "`labels`.*KnownLabels"),
        ({"prepare": HideShare(0.2), "labels": KnownLabels(CATS, "other.csv")}, "`labels`.*KnownLabels"),
        ({"prepare": HideShare(0.2), "labels": KnownLabels(CATS), "test": HiddenImages(TAGS)}, "`test`.*HiddenImages"),
    ],
)
def test_labels_metric_and_form_that_do_not_go_together_are_named(fields, named):
    with pytest.raises(DeclarationError, match=named):
        declare(**fields)


def test_every_metric_has_a_form_that_carries_it():
    for metric in METRICS.values():
        for target in metric.targets:
            competition = scored_by(metric.name, target)
            assert (competition.scoring.name, competition.target) == (metric.name, target)


def test_plugins_are_found_by_folder_and_loaded_by_name_and_dashes_stand_for_underscores(tmp_path):
    path = write_plugin(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "competition.py").write_text("")
    assert find_competitions(tmp_path) == {"two-cats": path}
    assert competition_named("two-cats", tmp_path) == competition_named("two_cats", tmp_path) == declare()


def test_a_later_folder_goes_before_an_earlier_one_and_one_that_is_not_there_is_named(tmp_path):
    write_plugin(tmp_path / "ours")
    theirs = write_plugin(tmp_path / "theirs")
    assert find_competitions(tmp_path / "ours", tmp_path / "theirs") == {"two-cats": theirs}
    with pytest.raises(DeclarationError, match="nowhere"):
        find_competitions(tmp_path / "nowhere")


def test_an_unknown_name_is_told_the_known_ones_or_of_many_the_nearest_alone(tmp_path):
    for name in ("plankton", "dogs_vs_cats"):
        write_plugin(tmp_path, name)
    with pytest.raises(DeclarationError, match=r"'cats'; there are dogs-vs-cats, plankton"):
        competition_named("cats", tmp_path)
    for number in range(20):
        write_plugin(tmp_path, f"other_{number}")
    for unknown, said in (("planton", "plankton"), ("cats", "dogs-vs-cats"), ("zzz", "22.*`comp list`")):
        with pytest.raises(DeclarationError, match=said) as raised:
            competition_named(unknown, tmp_path)
        assert "other-1" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            DECLARATION.replace("declare()", "declare(name='three-cats')"),
            "`name` is 'three-cats', but its folder says 'two-cats'",
        ),
        ("competition = Competition(", "SyntaxError"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("ProbabilityPerClas()", "`from comp import ProbabilityPerClass` imports what may be meant"),
        ("raise SystemExit(3)", "SystemExit"),
        ("", "should set `competition = Competition"),
        ("competition = 'two-cats'", "should set `competition = Competition"),
        (DECLARATION.replace("declare()", "declare(metric='logloss')"), "`metric` is 'logloss'"),
        (DECLARATION.replace("declare()", "declare(metrik=0)"), "did you mean `metric`?"),
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


def test_annotations_of_a_plugin_are_what_they_name(tmp_path):
    own = "def rate(step: int): return 1 if rate.__annotations__['step'] is int else 0\n"
    text = own + DECLARATION.replace("declare()", "declare(layer_lr_ratio=rate(0))")
    assert load_competition(write_plugin(tmp_path, text=text)).layer_lr_ratio == 1


def test_an_edit_of_the_same_second_and_length_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    declaration = write_plugin(tmp_path, text=DECLARATION.replace("declare()", "declare(layer_lr_ratio=1)"))
    assert load_competition(declaration).layer_lr_ratio == 1
    times = declaration.stat().st_atime_ns, declaration.stat().st_mtime_ns
    declaration.write_text(declaration.read_text().replace("ratio=1", "ratio=2"))
    os.utime(declaration, ns=times)
    assert load_competition(declaration).layer_lr_ratio == 2
