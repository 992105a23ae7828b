"""Infer a competition's declaration from a look at its files, with a line for each thing found or guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import chain

import pandas as pd

from comp.declare.competition import Competition, KaggleDataset
from comp.declare.forms import (
    ClassName,
    ClassNumber,
    ClassWithConfidence,
    NumberPerRow,
    Numbers,
    ProbabilityOf,
    ProbabilityPerClass,
    ProbabilityPerRow,
    SubmissionForm,
    TagNames,
    TopClasses,
)
from comp.declare.labels.columns import CsvNumbers
from comp.declare.labels.given import Renamed
from comp.declare.metrics import Target
from comp.declare.own_images import AskForAll, HideShare, KnownLabels
from comp.declare.reading import Channels, PixelTable
from comp.errors import DataError, first_few
from comp.new.columns import SEPARATORS, around
from comp.new.groups import groups_elsewhere, perhaps_groups
from comp.new.labels import find_labels
from comp.new.long_form import LongForm, made_wide
from comp.new.look import Look
from comp.new.matching import find_asked
from comp.new.metrics import Named, for_target, metric_of
from comp.new.own_images import own_images
from comp.new.pixels import pixel_tables, reader_of
from comp.new.recipes import recipes_for
from comp.new.sample import SampleTable, find_sample, is_sample
from comp.new.tables import Found, named_in, unread_columns
from comp.new.viewpoints import UNLIKE_PHOTOS, viewpoint_of

GRADES = r"grade|severity|diagnosis|level|stage|rating|isup|retinopathy|blindness"
NAMES_OF_NUMBERS = r"(map|names?|classes|labels?)[^/]*\.(json|txt)$"
PLAIN = r"(?<![a-z])(?:cover|normal|healthy|negative|background|original|clean|benign|no(?:ne)?(?![a-z]))"
# Files that may hold many images each; they can't be read.
CONTAINERS = (".hdf5", ".h5", ".tfrec", ".tfrecord", ".bson", ".lmdb", ".mdb", ".npz", ".pkl", ".pickle")
PATIENTS = "whether several images are of one patient, as their PatientID says: give it as a `group` in a LabelFunction"
# A form, the evidence for it in words, and whether it is certain.
FormSeen = tuple[SubmissionForm, str, bool]


@dataclass(frozen=True)
class Finding:
    """A finding about one part of the declaration, in words; without ``sure`` the user should confirm it."""

    about: str
    text: str
    sure: bool = True


@dataclass(frozen=True)
class InferredDeclaration:
    """A declaration and the findings behind it; ``title`` and ``task`` describe it, in a line each."""

    competition: Competition
    title: str
    task: str
    findings: tuple[Finding, ...]


def infer(look: Look, name: str, kaggle: str, datasets: Sequence[KaggleDataset] = ()) -> InferredDeclaration:
    """The declaration that fits the files.

    Raises DataError, saying what is missing, where there are no images or labels, or where the sample submission has no
    test images or asks for unsupported answers. Without a sample submission one is planned, see `own_images`.
    """
    found = find_sample(look)
    prepared: Sequence[PixelTable] | AskForAll | HideShare = ()
    read, long = "", None
    rows = None if look.image_folders or found is None else pixel_tables(look, found)
    if found is None:
        prepared, labels, asked, sample = own_images(look)
    elif rows is not None:
        sample, (prepared, labels, asked, read, side) = found, rows
        look = replace(look, pixels=(side, side))
    else:
        look, sample, long = made_wide(look, found)
        asked = find_asked(look, sample)
        labels = find_labels(look, asked, sample)
    given = labels.source.labels if isinstance(labels.source, KnownLabels) else labels.source
    names = _joined_names(labels, sample)
    if names:
        (plain,) = set(labels.classes) - names.keys()
        doubt = f"whether all classes but {plain!r} count as one, since one probability is asked for"
        labels = replace(labels, classes=(plain, *set(names.values())), doubts=(*labels.doubts, doubt))
    elif isinstance(given, CsvNumbers) and labels.path:
        names = _longer_names([*sample.columns], [*look.tables[labels.path].columns])
        doubt = f"whether these are the numbers that {sample.path} asks for: {', '.join(names)}"
        if names:
            given, doubts = replace(given, values=list(names)), (*labels.doubts, doubt)
            labels = replace(labels, source=given, classes=tuple(names.values()), doubts=doubts)
    read = read or reader_of(look, given)
    words = f"{kaggle.replace('-', ' ')} {look.title} {look.description}".lower()
    form, form_seen, sure = _form(labels, sample, look.metric, [str(name) for name in look.tables.get(labels.path, ())])
    if long is not None:
        labels = replace(labels, source=long.source(labels.source))
        form, form_seen, sure = _per_row(long, form, look.tables[labels.path])
        if unread := [name for name in long.unread.get(labels.path, ()) if name != getattr(given, "group", None)]:
            doubt = f"{first_few(unread)} of {labels.path} aren't read; where one groups images, say so with `group`"
            labels = replace(labels, doubts=(*labels.doubts, doubt))
    metric, metric_finding = _metric(labels, form, look)
    viewpoint, because = viewpoint_of(words, has_up=look.has_up)
    unlike = bool(re.search(UNLIKE_PHOTOS, words)) or viewpoint.flips != "horizontal"
    ratio, like = (3, "unlike") if unlike else (10, "like")
    recipes, recipes_seen = recipes_for(look.pixels, len(look.images), ratio, like_photographs=not unlike)
    competition = Competition(
        name=name,
        kaggle=kaggle,
        extra_data=datasets,
        labels=Renamed(labels.source, names) if names else labels.source,
        test=asked.source,
        prepare=prepared,
        read=Channels(look.channels) if look.channels else read,
        submission=form,
        sample_submission=sample.path,
        id_column="" if sample.id == sample.table.columns[0] else sample.id,
        augment=viewpoint,
        layer_lr_ratio=ratio,
        metric=metric,
        recipes=recipes,
    )
    group = getattr(getattr(given, "train", given), "group", None)
    told = look.tables.get(labels.path, pd.DataFrame())
    seen = perhaps_groups(told, {*named_in(vars(given).values()), *labels.classes}, labels.column)
    ungrouped = [PATIENTS] if read == "dicom" else chain(seen, groups_elsewhere(look, labels.path, sample))
    findings = [
        Finding("labels", labels.seen),
        *([Finding("read", f"an image's channels are files: {', '.join(look.channels)}")] if look.channels else []),
        *([Finding("groups", f"images of one {group!r} are kept on one side of a split")] if group else []),
        *(Finding("groups", text, sure=False) for text in (() if group else ungrouped)),
        *(Finding("labels", doubt, sure=False) for doubt in labels.doubts),
        Finding("test", asked.seen, asked.sure),
        Finding("submission", f"{form_seen}{_instead_of(look, sample)}", sure),
        metric_finding,
        Finding("augment", because, sure=False),
        Finding("layers", f"layer_lr_ratio {ratio}, for images {like} photographs", sure=False),
        Finding("recipes", recipes_seen),
        *(Finding("files", f"{path} {why}, and is left out", sure=False) for path, why in look.aside.items()),
        *(Finding("columns", text, sure=False) for text in unread_columns(look, labels, sample)),
    ]
    if containers := [path for path in look.files if path.lower().endswith(CONTAINERS)]:
        only = "let `prepare` write out any images in there that are needed"
        text = f"{first_few(containers)} can't be read; {only}"
        findings.append(Finding("files", text, sure=False))
    if look.only_notebooks:
        findings.append(Finding("kaggle", "takes submissions from notebooks only, so none can be uploaded", sure=False))
    if not look.whole:
        findings.append(Finding("files", "only some of the files were looked at", sure=False))
    title = look.title or kaggle.replace("-", " ").title()
    return InferredDeclaration(competition, title, _task(look, competition, labels), tuple(findings))


def _joined_names(labels: Found, sample: SampleTable) -> dict[str, str]:
    """One name for all classes but the asked or plain one, where one probability is asked for; else empty."""
    fraction = len(sample.columns) == 1 and any(re.fullmatch(r"0?\.\d*[1-9]\d*", value) for value in sample.values)
    if not fraction or labels.source.target != "single" or len(labels.classes) < 3:
        return {}
    asked = (name for name in labels.classes if _is_named_in(name, sample.columns[0]))
    (plain, *_) = *asked, *(name for name in labels.classes if re.search(PLAIN, name.lower())), labels.classes[0]
    return {name: f"not {plain}" for name in labels.classes if name != plain}


def _longer_names(asked: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """The asked numbers by a table's columns, where all of their names are longer by the same end: X4 by X4_mean.

    Empty where the table has columns of the asked names, or not all of the longer ones.
    """
    if len(asked) < 2 or set(asked) <= set(columns):
        return {}
    ends = (column.removeprefix(asked[0]) for column in columns if column.startswith(asked[0]))
    end = next((end for end in ends if all(f"{name}{end}" in columns for name in asked)), None)
    return {} if end is None else {f"{name}{end}": name for name in asked}


def _task(look: Look, competition: Competition, labels: Found) -> str:
    count = len(labels.classes)
    words = {"single": f"which of {count} classes", "multi": f"which of {count} tags"}
    kind = words.get(competition.target, f"how much {', '.join(labels.classes[:3])}")
    if count == 2 and competition.target == "single":
        kind = " or ".join(labels.classes)
    asked = look.description.strip().rstrip(".") or kind
    metric = competition.scoring.name.replace("_", " ")
    return f"{asked}{'.' if look.description.strip() else '?'} {metric[0].upper()}{metric[1:]}."


def _instead_of(look: Look, sample: SampleTable) -> str:
    """Words that name the sample submissions that are not used; empty if there are none."""
    others = [path for path in look.tables if path != sample.path and is_sample(path)]
    return f", by {sample.path} and not {first_few(others)}" if others and sample.columns else ""


def _form(labels: Found, sample: SampleTable, kaggles_metric: str, there: Sequence[str]) -> FormSeen:
    columns, values, classes, target = sample.columns, sample.values, labels.classes, labels.source.target
    are_numbers = target in ("number", "fractions") or (target == "shares" and sample.takes == "numbers")
    if not columns:
        form = Numbers() if are_numbers else _own_form(sample, target, classes)
        return form, f"{type(form).__name__}(), in a sample submission that is written", True
    if are_numbers:
        if len(columns) > 1 and (odd := sorted(set(columns) - set(classes))):
            near = [name for name in there if name.startswith(odd[0])] or get_close_matches(odd[0], there, 5)
            raise DataError(
                f"{sample.path} asks for numbers in {odd[0]!r}, but the nearest are {', '.join((near or classes)[:5])} "
                f"in {labels.path}; give the columns the same names, or the labels these names by Renamed: "
                "docs/bring-your-own.md."
            )
        return Numbers(), f"a number in {first_few(map(repr, columns))}", True
    if len(columns) > 1:
        return _probability_per_class(columns, classes)
    column = columns[0]
    if target == "multi":
        return _tag_names(labels, column, values)
    named = metric_of(kaggles_metric)
    wanted = for_target(named, "single", len(classes)) if named else None
    if ranked := _ranked(values, classes, wanted):
        return ranked
    fraction = any(re.fullmatch(r"\d*\.\d*[1-9]\d*", value) for value in values)
    numeric = all(re.fullmatch(r"\d*\.?\d*", value) for value in values)
    takes = wanted.takes if wanted else None
    named_class = set(values) & (set(classes) - {"0", "1"})
    if len(classes) == 2 and (fraction or (takes != "classes" and numeric and not named_class)):
        return _probability_of(column, classes, sure=fraction or takes == "probabilities")
    if set(values) <= set(classes):
        return ClassName(), f"the class in {column!r}", True
    in_words = not all(map(str.isdecimal, classes))
    if in_words and all(value.isdecimal() and int(value) < len(classes) for value in values):
        text = f"the number of the class in {column!r}: {', '.join(f'{n} {c}' for n, c in enumerate(classes[:3]))}"
        return ClassNumber(classes), f"{text}{', …' if len(classes) > 3 else ''}", False
    text = f"the class in {column!r}, where the sample submission has {values.iloc[0]!r}, which is no class"
    return ClassName(), text, not any(values)


def _per_row(long: LongForm, form: SubmissionForm, values: pd.DataFrame) -> FormSeen:
    if form.takes != "numbers":
        text = f"a probability in a row for each image and class, called {long.row}"
        return ProbabilityPerRow(long.classes, row=long.row), text, True
    text = f"a number in a row for each image and number, called {long.row}"
    whole = bool(values[list(long.classes)].apply(lambda column: column.str.isdecimal()).all(axis=None))
    if whole:
        text += "; of answers to several questions see docs/bring-your-own.md"
    return NumberPerRow(long.classes, row=long.row), text, not whole


def _own_form(sample: SampleTable, target: Target, classes: Sequence[str]) -> SubmissionForm:
    """The form by the metric, where a known one fits the target, else the plainest one."""
    if target == "shares" or sample.takes == "probabilities":
        return ProbabilityPerClass()
    if target == "multi":
        return TagNames(next((mark for mark in (" ", *SEPARATORS) if not any(mark in name for name in classes)), " "))
    return ClassName()


def _probability_per_class(columns: Sequence[str], classes: Sequence[str]) -> FormSeen:
    before, after = around(columns)
    if set(columns) == {f"{before}{name}{after}" for name in classes} != set(classes):
        text = f"a probability in each of {len(columns)} columns, called {before}…{after} after the classes"
        return ProbabilityPerClass(f"{before}{{class}}{after}"), text, True
    odd = sorted(set(columns) ^ set(classes))
    doubt = f"; but {', '.join(odd[:3])} {'is' if len(odd) == 1 else 'are'} only in one of the two" if odd else ""
    text = f"a probability in each of {len(columns)} columns, one for each class{doubt}"
    return ProbabilityPerClass(), text, not odd


def _tag_names(labels: Found, column: str, values: pd.Series[str]) -> FormSeen:
    separator = next((mark for mark in SEPARATORS if values.str.contains(mark, regex=False).any()), None)
    own = getattr(labels.source, "separator", None)
    between = separator or (own if own in SEPARATORS else None) or " "
    sure = separator is not None or between == own
    return TagNames(between), f"tags in {column!r} with {between!r} between them", sure


def _ranked(values: pd.Series[str], classes: Sequence[str], wanted: Named | None) -> FormSeen | None:
    """The form for several classes in a row, the best first, or for a class with its confidence; None for others."""
    takes, rows = wanted.takes if wanted else None, [value.split() for value in values if value]
    most = max(map(len, rows), default=0)
    with_number = all(len(row) == 2 and re.fullmatch(r"[01]?\.\d+|[01]", row[1]) for row in rows)
    if takes == "confidence" or (takes is None and with_number and most == 2 and rows[0][0] in classes):
        return ClassWithConfidence(" "), "a class and its confidence", takes is not None
    spaced = any(" " in name for name in classes)
    several = most > 1 and not spaced and len({len(row) for row in rows}) == 1 and set(values).isdisjoint(classes)
    if takes != "ranking" and not (takes is None and several and set(rows[0]) & set(classes)):
        return None
    count = (wanted.k if wanted else 0) or most
    separator = " " if most > 1 else next((mark for mark in ",;|" if values.str.contains(mark, regex=False).any()), " ")
    text = f"the {count} likeliest classes, the best first, with {separator!r} between them"
    return TopClasses(count, separator), text, takes is not None


def _is_named_in(label: str, column: str) -> bool:
    return label.lower() in re.split(r"[^a-z0-9]+", column.lower())


def _probability_of(column: str, classes: Sequence[str], *, sure: bool) -> FormSeen:
    """A form for the class that the column is named after, else for the last class, which usually means yes."""
    after = [label for label in classes if _is_named_in(label, column)]
    label = after[0] if len(after) == 1 else classes[-1]
    clear = len(after) == 1 or set(classes) == {"0", "1"}
    text = f"the probability of {label!r} in {column!r}" + ("" if clear else f", not of {classes[0]!r}")
    return ProbabilityOf(label), text, sure and clear


def _metric(labels: Found, form: SubmissionForm, look: Look) -> tuple[str, Finding]:
    target, named = labels.source.target, metric_of(look.metric)
    fitting = named and for_target(named, target, len(labels.classes))
    if fitting and fitting.takes == form.takes:
        # Kaggle's name doesn't give the classes' weights, nor always beta.
        alike = ", with the same weight for each class" if fitting.name == "weighted_log_loss" else ""
        alike = ", with a beta of 2" if fitting.name == "mean_f2" and "2" not in look.metric else alike
        text = f"{fitting.name}, which Kaggle calls {look.metric!r}{alike}"
        return fitting.name, Finding("metric", text, sure=not alike)
    guess = _guessed_metric(labels, form, look)
    said = f"; Kaggle says {look.metric!r}" if look.metric else ""
    return guess, Finding("metric", f"{guess}, which fits what is submitted{said}", sure=False)


def _guessed_metric(labels: Found, form: SubmissionForm, look: Look) -> str:
    if isinstance(form, (TagNames, Numbers, NumberPerRow, TopClasses, ClassWithConfidence)):
        return {"tags": "mean_f1", "numbers": "rmse", "ranking": "map_at_k", "confidence": "gap"}[form.takes]
    if isinstance(form, ProbabilityOf):
        return "roc_auc" if set(labels.classes) == {"0", "1"} else "log_loss"
    if isinstance(form, (ProbabilityPerClass, ProbabilityPerRow)):
        if re.search(r"log", look.metric.lower()):
            return "log_loss"
        return "log_loss" if labels.source.target in ("single", "shares") else "mean_columnwise_roc_auc"
    numbers = all(label.isdecimal() for label in labels.classes) and len(labels.classes) > 2
    # Numbers that have names in a file are no grades.
    names = any(re.search(NAMES_OF_NUMBERS, path.lower()) for path in look.files)
    graded = re.search(GRADES, f"{labels.column} {look.title}".lower())
    return "quadratic_kappa" if numbers and not names and graded else "accuracy"
