"""Label sources made of others: with a given validation set, with extra images that only train, with other names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from comp.declare.checks import Declared
from comp.declare.labels.table import COLUMNS, LabelSource, table
from comp.declare.metrics import Target
from comp.errors import DataError, counted

if TYPE_CHECKING:
    import pandas as pd

Source = Annotated[LabelSource, "a label source, like Folders or CsvLabels"]


@dataclass(frozen=True)
class Wrapped(Declared):
    """Another label source, ``labels``, and its kind of labels."""

    labels: Source

    @property
    def target(self) -> Target:
        return self.labels.target

    @property
    def bounds(self) -> Any:
        """The bounds of `CsvNumbers`; None for other sources."""
        return getattr(self.labels, "bounds", None)


@dataclass(frozen=True)
class Renamed(Wrapped):
    """Labels under other names: ``Renamed(Folders("train"), {"JUNIWARD": "altered", "UERD": "altered"})``.

    names: the new names of classes, tags or numbers by the old ones; the others keep theirs. Classes, or tags, that get
    the same name become one.
    """

    names: Annotated[Mapping[str, str], "new names by the old ones, like {'UERD': 'altered'}"]

    def read(self, folder: Path) -> pd.DataFrame:
        """The source's table; raises DataError for an old name that no label has, and for two numbers of one name."""
        found = self.labels.read(folder)
        if unknown := sorted(self.names.keys() - _classes(found)):
            there = ", ".join(sorted(_classes(found))[:10])
            raise DataError(f"Renamed: no label is called {unknown[0]!r}; there are {there}.")
        return found.assign(label=[self._renamed(label) for label in found["label"]])

    def _renamed(self, label: Any) -> Any:
        if isinstance(label, str):
            return self.names.get(label, label)
        if self.target == "multi":
            return tuple(sorted({self.names.get(tag, tag) for tag in label}))
        renamed = tuple((self.names.get(name, name), value) for name, value in label)
        name, times = Counter(name for name, _ in renamed).most_common(1)[0]
        if times > 1:
            raise DataError(f"Renamed: {counted(times, 'number')} would be called {name!r}; give each its own name.")
        return renamed


class _Both(Declared):
    """Two label sources; `validates` holds for the second's images, unless its table says that one only trains."""

    validates: ClassVar[bool]

    @property
    def sources(self) -> dict[str, LabelSource]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]

    def contradictions(self) -> Iterator[tuple[str, object, str]]:
        (name, first), (other, second) = self.sources.items()
        yield other, first.target != second.target, f"a source of the same target as `{name}`"

    @property
    def target(self) -> Target:
        return next(iter(self.sources.values())).target

    @property
    def bounds(self) -> Any:
        """The bounds of `CsvNumbers`; None for other sources."""
        return getattr(next(iter(self.sources.values())), "bounds", None)

    def read(self, folder: Path) -> pd.DataFrame:
        """Both tables as one. Raises DataError where the second has a class that the first lacks."""
        import numpy as np
        import pandas as pd

        first, second = (source.read(folder) for source in self.sources.values())
        _, name = self.sources
        if self.target in ("single", "multi") and (unknown := sorted(_classes(second) - _classes(first))):
            word = type(self).__name__
            raise DataError(
                f"{word}: `{name}` has the class {unknown[0]!r}, which the other images lack; remove its images, or "
                f"declare the labels without {word}."
            )
        notes = dict.fromkeys([*first.attrs.get("notes", ()), *second.attrs.get("notes", ())])
        said = [*_validates(first), *(False if own is False else self.validates for own in _validates(second))]
        both = pd.concat([one.drop(columns="validates", errors="ignore") for one in (first, second)], ignore_index=True)
        in_second = np.arange(len(both)) >= len(first)
        for column in ("id", "answer") if "answer" in both else ("id",):
            # Where only one source has answers, each image of the other is its own answer.
            names = both[column].fillna(both["id"])
            apart = f"{name}/" if names[in_second].isin(names[~in_second]).any() else ""
            both[column] = names.where(~in_second, apart + names)
        if "group" in both:
            both["group"] = both["group"].fillna(both["answer" if "answer" in both else "id"])
        return table(notes, **{column: both[column].to_list() for column in COLUMNS if column in both}, validates=said)


@dataclass(frozen=True)
class GivenSplit(_Both):
    """Labels with a validation set of their own: ``GivenSplit(Folders("train"), Folders("valid"))``.

    train, valid: label sources. The images of ``valid`` validate in a single split; folds and training on all data use
    the images of both. Where an id is in both sources, all ids of ``valid`` get the prefix ``valid/``; so do its
    answers where an answer is in both.
    """

    train: Source
    valid: Source
    validates: ClassVar[bool] = True


@dataclass(frozen=True)
class WithExtra(_Both):
    """Labels, and extra ones that only train: ``WithExtra(Folders("train"), Folders("external"))``.

    labels, extra: label sources. The images of ``extra``, like other years' or pseudo-labelled ones, never validate,
    not even in folds; the validation images are the same as without them. Where an id is in both sources, all ids of
    ``extra`` get the prefix ``extra/``; so do its answers where an answer is in both. A group in both sources is one
    group, so it only trains.
    """

    labels: Source
    extra: Source
    validates: ClassVar[bool] = False


def _validates(frame: pd.DataFrame) -> list[bool | None]:
    return frame["validates"].to_list() if "validates" in frame else [None] * len(frame)


def _classes(frame: pd.DataFrame) -> set[str]:
    """The names of the classes, tags or numbers."""
    parts = (part for label in frame["label"] for part in ((label,) if isinstance(label, str) else label))
    return {part if isinstance(part, str) else part[0] for part in parts}
