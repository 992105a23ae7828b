"""The declaration of a competition, and how it is found and loaded."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from comp.declare.checks import Declared, between, matching, misspelt, one_of
from comp.declare.columns import Columns
from comp.declare.forms import FORMS, SubmissionForm
from comp.declare.labels.table import LabelSource, TestSource
from comp.declare.metrics import METRICS, OF_FRACTIONS, TARGETS, Metric, Target
from comp.declare.own_images import AskForAll, HiddenImages, HideShare, KnownLabels
from comp.declare.reading import Channels, PixelTable, Read
from comp.declare.recipe import Ensemble, Recipe
from comp.declare.source import source_at
from comp.declare.viewpoint import Viewpoint, side_on
from comp.errors import CompError, DeclarationError

NAMED = 5  # the most competitions in a message
DECLARATION = re.compile(r"competitions\..+\.competition")
REPOSITORY_COMPETITIONS = Path(__file__).resolve().parents[2] / "competitions"

Slug = Annotated[str, matching(r"[a-z0-9]+(-[a-z0-9]+)*"), "small letters, digits and single dashes"]
KaggleSlug = Annotated[str, matching(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*"), "letters, digits and single dashes"]


@dataclass(frozen=True)
class KaggleDataset(Declared):
    """A Kaggle data set, ``owner/name``, unpacked beside the competition's files."""

    handle: Annotated[str, matching(r"[\w-]+/[\w-]+"), "like 'owner/name', as in the data set's address"]


@dataclass(frozen=True, kw_only=True)
class Competition(Declared):
    """Everything that is special about one competition; the runner does the rest.

    name: its name on the command line; its folder has the same name with ``_`` for ``-``.
    kaggle: the slug in the competition's address at Kaggle.
    extra_data: data sets to download as well; all paths below are relative to the one folder they share.
    labels: where labels come from.
    test: where the test images are.
    combine: how the predictions of one answer's images become the answer's, where the label source and ``test`` say
        which images belong together: ``mean``, ``max``, or a function of them (I, C) that returns (C,). Probabilities
        that should sum to one are normalised afterwards.
    postprocess: a function of a pandas DataFrame of predictions, its index the ids (of answers, where images are
        combined) and a column per class, tag or number, that returns one of the same ids and columns. It gets the
        predictions of the validation rows and of the test images, with TTA, combined and blended, before temperature or
        thresholds are tuned. Probabilities that should sum to one are normalised afterwards.
    read: how a file becomes pixels: a name of `comp.declare.reading.READERS`, ``Channels([...])`` of several files, or
        a function of the path that returns an array (H, W) of grey or (H, W, C). Bytes stay as they are; other numbers
        are scaled to bytes by the range of the training images.
    prepare: done once, after the data were unpacked: a ``PixelTable(...)``, a list of them, ``HideShare(0.2)``,
        ``AskForAll()``, or a function of the data folder and a new folder, which it writes images to. The new folder
        becomes ``prepared/`` beside the data.
    columns: columns of a CSV as further inputs beside the images.
    submission: how predictions are written; ids, order and columns are the sample submission's.
    sample_submission: the name of that file. id_column: its column of ids, if that isn't the first.
    metric: one of `comp.declare.metrics.METRICS`, or a custom `Metric`.
    augment: how images may be augmented.
    layer_lr_ratio: how many times smaller each earlier layer group's learning rate is: 10 where images resemble
        ImageNet's, 3 where they don't (satellites, X-rays).
    log_with: an experiment tracker that also gets losses, rates, metrics and the config: ``tensorboard``, ``wandb``,
        ``mlflow`` or ``trackio``, or a function of the run's folder that returns one of Accelerate's trackers.
    recipes: by name, each a `Recipe` or an `Ensemble` of several; ``standard`` is the default.
    source: a digest of the competition's files, see `source_at`; set when the competition is loaded, not declared.
    """

    name: Slug
    kaggle: KaggleSlug
    extra_data: Annotated[Sequence[KaggleDataset], "a list of KaggleDataset('owner/name')"] = ()
    labels: Annotated[LabelSource, "a label source, like FileNames, Folders, CsvLabels, CsvColumns or LabelFunction"]
    test: Annotated[TestSource, "TestImages(...), CsvImages(...), or a source with a `read` of its own"]
    combine: Annotated[
        Literal["mean", "max"] | Callable[[Any], Any], "'mean', 'max' or a function of (I, C) that returns (C,)"
    ] = "mean"
    postprocess: Annotated[
        Callable[[Any], Any] | None, "a function of a table of predictions that returns one of the same ids and columns"
    ] = None
    read: Read | Channels = "images"
    prepare: (
        PixelTable
        | HideShare
        | AskForAll
        | Annotated[Sequence[PixelTable], "a list of PixelTable(...)"]
        | Annotated[Callable[[Path, Path], Any], "a function of the data folder and a new one"]
    ) = ()
    columns: Annotated[Columns | None, "Columns(...)"] = None
    submission: Annotated[SubmissionForm, f"a form: {', '.join(FORMS)}, or one of your own"]
    sample_submission: str = "sample_submission.csv"
    id_column: Literal[""] | str = ""
    augment: Annotated[Viewpoint, "side_on(), top_down() or upright(), with a `pipeline` or without"] = field(
        default_factory=side_on
    )
    layer_lr_ratio: Annotated[float, between(1)] = 10
    metric: Annotated[
        Annotated[str, one_of(METRICS)] | Metric,
        f"one of {', '.join(METRICS)}, or Metric('name', takes=..., higher_is_better=..., score=your_function)",
    ]
    log_with: Annotated[
        Literal["tensorboard", "wandb", "mlflow", "trackio"] | Callable[[Path], Any] | None,
        "'tensorboard', 'wandb', 'mlflow', 'trackio', or a function of the run's folder",
    ] = None
    recipes: Annotated[Mapping[str, Recipe | Ensemble], "recipes by name, like {'standard': Recipe(...)}"]
    source: Literal[""] | str = field(default="", compare=False, repr=False)

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        standard = isinstance(self.recipes.get("standard"), Recipe)
        yield "recipes", not standard, "recipes by name, a Recipe 'standard' among them"
        yield "labels", self.target not in TARGETS, f"a label source whose `target` is one of {', '.join(TARGETS)}"
        what = TARGETS[self.target]
        takes = self.scoring.takes
        other = "; labels that are numbers need CsvNumbers, or LabelFunction with target='number'"
        wanted = f"one for {what}, as `labels` gives them{other if takes == 'numbers' else ''}"
        yield "metric", self.target not in self.scoring.targets, wanted
        yield "submission", self.target not in self.submission.targets, f"a form for {what}, as `labels` gives them"
        yield "submission", takes != self.submission.takes, f"a form with {takes}, which {self.scoring.name} compares"
        if isinstance(self.prepare, HideShare):
            known = isinstance(self.labels, KnownLabels) and self.labels == KnownLabels(self.labels.labels)
            yield "labels", not known, "KnownLabels(images), of which `prepare` hides a share"
            images = getattr(self.labels, "labels", self.labels)
            yield "test", self.test != HiddenImages(images), "HiddenImages(images), with the same images as `labels`"

    @property
    def target(self) -> Target:
        return self.labels.target

    @property
    def scoring(self) -> Metric:
        if not isinstance(self.metric, str):
            return self.metric
        others = OF_FRACTIONS if self.target == "fractions" else {}
        return others.get(self.metric, METRICS[self.metric])


def find_competitions(*folders: Path) -> dict[str, Path]:
    """The files that declare the competitions, by name; a later folder overrides an earlier one."""
    found = {}
    for folder in folders:
        if not folder.is_dir():
            raise DeclarationError(f"The folder of competitions {folder} doesn't exist; check --competitions.")
        for declaration in sorted(folder.glob("*/competition.py")):
            found[declaration.parent.name.replace("_", "-")] = declaration
    return found


def load_competition(declaration: Path) -> Competition:
    """Run a competition.py (it is code: run only what you trust) and return the competition it declares."""
    module_name = f"competitions.{declaration.parent.name}.competition"
    spec = ModuleSpec(module_name, None, origin=str(declaration))
    spec.has_location = True
    module = module_from_spec(spec)
    # The data loader's worker processes import label functions by name.
    sys.modules[module_name] = module
    try:
        # Not from bytecode, which misses an edit within the same second that keeps the length.
        exec(compile(declaration.read_bytes(), declaration, "exec", dont_inherit=True), vars(module))
    except CompError as error:
        raise DeclarationError(f"{declaration}: {error}") from error
    except (Exception, SystemExit) as error:
        why = misspelt(error, vars(module)) or f"{type(error).__name__}: {error}."
        raise DeclarationError(f"{declaration} can't be loaded: {why}") from error
    competition = getattr(module, "competition", None)
    if not isinstance(competition, Competition):
        raise DeclarationError(f"{declaration} should set `competition = Competition(...)`, but doesn't.")
    expected = declaration.parent.name.replace("_", "-")
    if competition.name != expected:
        raise DeclarationError(f"{declaration}: `name` is {competition.name!r}, but its folder says {expected!r}.")
    return replace(competition, source=source_at(module_name, declaration))


def loaded_declarations() -> dict[str, Path]:
    """The files of the competitions that this process has loaded, by module."""
    modules = [(name, module.__file__) for name, module in sys.modules.copy().items() if DECLARATION.fullmatch(name)]
    return {name: Path(file) for name, file in modules if file}


def competition_named(name: str, *folders: Path) -> Competition:
    """Load the competition of that name; raises DeclarationError with the nearest names."""
    return load_competition(declaration_of(name, *folders))


def declaration_of(name: str, *folders: Path) -> Path:
    """The file that declares the competition of that name; raises DeclarationError with the nearest names."""
    found = find_competitions(*folders)
    declaration = found.get(name) or found.get(name.replace("_", "-"))
    if declaration is None:
        raise DeclarationError(f"There is no competition {name!r}; {_instead_of(name, sorted(found))}.")
    return declaration


def _instead_of(name: str, names: Sequence[str]) -> str:
    """Suggest the names that may be meant, or all where they are few."""
    if len(names) <= NAMED:
        return f"there are {', '.join(names) or 'none'}"
    wanted = name.lower().replace("_", "-")
    inside = [one for one in names if wanted and wanted in one]
    near = list(dict.fromkeys([*inside, *difflib.get_close_matches(wanted, names, n=NAMED)]))[:NAMED]
    meant = f"did you mean {' or '.join(near)}? There" if near else "there"
    return f"{meant} are {len(names)}, which `comp list` shows"
