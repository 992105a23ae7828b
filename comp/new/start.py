"""Start a competition: look at its files, infer its declaration, check it against the files, write it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath

import pandas as pd

from comp.console import Console
from comp.data.tables import Tables, read_tables
from comp.declare.checks import fits, words_for
from comp.declare.competition import Competition, KaggleDataset, KaggleSlug, Slug, load_competition
from comp.declare.metrics import Target, outputs_in_words
from comp.declare.own_images import AskForAll, HideShare
from comp.errors import CompError, DataError, DeclarationError, KaggleError, OverrideError, counted, first_few
from comp.files import holds_files
from comp.kaggle.client import CompetitionFacts, connect
from comp.kaggle.fetch import fetch
from comp.new.adopting import adopted
from comp.new.at_kaggle import OpaqueError, look_at_kaggle
from comp.new.inference import Finding, InferredDeclaration, infer
from comp.new.look import Look, look_at_folder
from comp.new.matching import NoImagesError, kinds_of
from comp.new.writing import commands_of, write
from comp.runs import Workspace

# The Makefile's own targets, which a competition of the same name would hide.
TESTS = {"test", "test-long", "test-real", "test-reliability", "test-kills"}
TAKEN = TESTS | {"help", "setup", "demo", "lint", "format", "lock", "new"}
MOST_CHECKED = 50_000  # files that are laid out empty, to check a declaration against them


def start(
    name: str,
    competitions: Path,
    workspace: Workspace,
    console: Console,
    *,
    kaggle: str | None = None,
    data: Path | None = None,
    datasets: Sequence[KaggleDataset] = (),
) -> Path:
    """Write the folder of a new competition and return the path of its declaration.

    For a competition that is declared already but has no data in this workspace, only link or unpack ``data``.

    competitions: the parent of the new folder. kaggle: the competition's slug or address at Kaggle. data: a folder or
    archive on this machine with its files. datasets: data sets at Kaggle with images that the competition's own files
    lack. Raises DeclarationError for an invalid or taken name, OverrideError for options that don't go together,
    DataError where the files have no images or labels, or don't fit the sample submission, KaggleError where Kaggle
    can't be reached or denies access.
    """
    if not (kaggle or data):
        raise OverrideError(
            "A competition's files are at Kaggle or here: give --kaggle SLUG or --data DIR "
            "(to make, KAGGLE=SLUG or DATA=DIR)."
        )
    if data and datasets:
        raise OverrideError("--data and --dataset can't be combined, as --data has all files: leave one of them out.")
    folder = competitions / name.replace("-", "_")
    declaration = folder / "competition.py"
    if data is not None and declaration.is_file():
        competition = load_competition(declaration)
        if not holds_files(workspace.data(competition.name)):
            _adopt_for(competition, declaration, data, workspace.data(competition.name), console)
            return declaration
    address = re.search(r"kaggle\.com/(?:c|competitions)/([^/?#]+)", kaggle or "")
    slug, here = address[1] if address else kaggle or name, workspace.data(name)
    _check_name(name, slug, folder)
    if data is None:
        look, inferred = _from_kaggle(name, slug, datasets, here, console)
    else:
        facts = _facts(slug, console) if kaggle else None
        with adopted(data, [slug], here, console.say):
            look = look_at_folder(here, facts)
            inferred = infer(look, name, slug)
        if not kaggle and not isinstance(inferred.competition.prepare, HideShare):
            guess = f"{slug!r} is a placeholder: submitting needs the slug in the competition's address"
            inferred = replace(inferred, findings=(*inferred.findings, Finding("kaggle", guess, sure=False)))
    fits, verdict = _held_against_the_files(inferred.competition, look, here)
    inferred = replace(inferred, findings=(*inferred.findings, *verdict))
    written = write(inferred, folder)
    for finding in inferred.findings:
        mark = " " if finding.sure else "?" if fits or finding not in verdict else "!"
        console.say(f"{mark} {finding.about:<11} {finding.text}")
    if not all(finding.sure for finding in inferred.findings):
        console.say(f"each ? marks a guess; confirm or change it in {written.name}")
    explore, run, _ = commands_of(name, competitions)
    console.say(f"next: {explore if fits else 'mend what check found'}, then {run}")
    return written


def _check_name(name: str, slug: str, folder: Path) -> None:
    for what, text, hint in (("name", name, Slug), ("slug in its address", slug, KaggleSlug)):
        if not fits(text, hint):
            raise DeclarationError(f"A competition's {what} has {words_for(hint)}, but {text!r} was given.")
    if name in TAKEN:
        raise DeclarationError(f"`make {name}` does something else already; give the competition another name.")
    if folder.exists():
        raise DeclarationError(
            f"{folder} is there already; change its competition.py (the slug is its `kaggle`), remove it, or give the "
            "competition another name."
        )


def _adopt_for(competition: Competition, declaration: Path, data: Path, here: Path, console: Console) -> None:
    """Link or unpack the data of a declared competition; where they don't fit, raise DataError and undo that."""
    sources = [competition.kaggle, *(dataset.handle for dataset in competition.extra_data)]
    with adopted(data, sources, here, console.say):
        try:
            tables = read_tables(competition, here)
        except CompError as error:
            raise DataError(
                f"{data} doesn't fit {declaration}, which says how it is read: {str(error).replace(f'{here}/', '')}"
            ) from error
    console.say(f"{declaration} stays as it is; its data are those of {data}")
    console.say(f"  check       {_fit_together(tables, competition.target)}")
    console.say(f"next: {commands_of(competition.name, declaration.parents[1])[1]}")


def _facts(slug: str, console: Console) -> CompetitionFacts | None:
    try:
        return connect(say=console.say).competition(slug)
    except KaggleError as error:
        console.say(f"title and metric are unknown: {error}")
        return None


def _from_kaggle(
    name: str, slug: str, datasets: Sequence[KaggleDataset], here: Path, console: Console
) -> tuple[Look, InferredDeclaration]:
    """Look at a part of Kaggle's list, then at all of it; download everything if an archive can't be listed.

    With data sets everything is downloaded, as only unpacking shows where their files end up.
    """
    kaggle = connect(say=console.say)
    facts = kaggle.competition(slug)
    for whole in () if datasets else (False, True):
        try:
            with console.bar(
                "listing all files" if whole else "looking at the competition's files", None, "requests"
            ) as bar:
                look = look_at_kaggle(kaggle, slug, facts, partial(bar.advance, 1), console.say, whole=whole)
        except OpaqueError as error:
            console.say(f"{error} can't be looked into remotely, so the whole competition is downloaded")
            break
        try:
            return look, infer(look, name, slug)
        except DataError as error:
            if look.whole and isinstance(error, NoImagesError):
                raise DataError(
                    f"{slug} has no images among its files, which are {kinds_of(look)}; name the data set that has "
                    "them, --dataset OWNER/SLUG, or write out images from other files: docs/bring-your-own.md."
                ) from None
            if look.whole:
                raise
        console.say("a part of the files was not enough, so every file is listed")
    with console.downloads() as progress:
        fetch(lambda: kaggle, [slug, *(dataset.handle for dataset in datasets)], here, progress, console.say)
    look = look_at_folder(here, facts)
    return look, infer(look, name, slug, datasets)


def _held_against_the_files(competition: Competition, look: Look, here: Path) -> tuple[bool, list[Finding]]:
    """Whether labels, test images and sample submission fit together, as far as is known, and the findings."""
    if competition.prepare and not isinstance(competition.prepare, (HideShare, AskForAll)):
        return True, [Finding("check", "the images are prepared from the tables first, and checked then")]
    if not look.whole or len(look.files) > MOST_CHECKED:
        return True, [Finding("check", "not checked against the data yet; training does that first", sure=False)]
    with tempfile.TemporaryDirectory() as place:
        folder = here if holds_files(here) else Path(place)
        if folder != here:
            _lay_out(look, folder)
        try:
            tables = read_tables(competition, folder)
        except CompError as error:
            return False, [Finding("check", str(error).replace(f"{folder}/", ""), sure=False)]
        fitting = Finding("check", _fit_together(tables, competition.target))
        return True, [*(Finding("images", text, sure=False) for text in _unused(tables, look, folder)), fitting]


def _fit_together(tables: Tables, target: Target) -> str:
    of = outputs_in_words(tables.classes, target)
    counts = f"{len(tables.train)} labelled images of {of}, {len(tables.test)} to predict"
    return f"labels, images and sample submission fit together: {counts}"


def _unused(tables: Tables, look: Look, folder: Path) -> Iterator[str]:
    """A line on folders of which no image is trained on or predicted, if there are any."""
    paths = pd.concat([tables.train["path"], tables.test["path"]])
    used = {PurePath(path).relative_to(folder).parent.as_posix() for path in paths}
    if unused := [images for images in look.image_folders if images.path not in used]:
        many = counted(sum(len(images.names) for images in unused), "image is", "images are")
        yield f"{many} neither trained on nor predicted, in {first_few(images.path for images in unused)}"


def _lay_out(look: Look, folder: Path) -> None:
    """Write empty files for the images, and the tables and JSONs: as much as reading the labels needs."""
    for file in look.files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    for path, table in look.tables.items():
        as_csv = partial(table.to_csv, sep="\t" if ".tsv" in path else ",")
        (table.to_parquet if path.endswith(".parquet") else as_csv)(folder / path, index=False)
    for path, said in look.annotations.items():
        content = {
            "images": [{**said.images[one], "id": one, "file_name": name} for one, name in said.files.items()],
            "annotations": [{"image_id": one, "label": name} for one, ids in said.categories.items() for name in ids],
            "categories": [{"id": one, "name": name} for one, name in said.names.items()],
        }
        (folder / path).write_text(json.dumps(content), encoding="utf-8")
