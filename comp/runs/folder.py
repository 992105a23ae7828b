"""A run: a folder with everything that a training produced, and the places of its files."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comp.errors import RunError
from comp.files import held, is_held, replacing, write_text
from comp.runs.history import History

# The commands that write the records that a run may lack.
MAKES = {"trained": "train --resume", "scores": "predict", "submitted": "submit"}


@dataclass(frozen=True)
class Run:
    """One run folder, ``runs/<competition>/<name>``.

    config.json: everything resolved before the first step, and the run's number in the order of all runs. split.csv:
    the part of each row. history.csv and the other tables of its `History`. checkpoints/model.safetensors: the weights.
    trained.json: the trained stages with the learning rates used, and the snapshots that are averaged with the final
    weights. predictions/: probabilities with ids, as Parquet, and those before `postprocess` where there is one.
    scores.json: validation scores, post-processing and the fingerprint of submission.csv as it was written.
    submission.csv; sending.json during its upload, submitted.json afterwards. report.html: the run's page.
    checkpoints/last.pt: the state that a stopped training is resumed from.
    A run made of others, its members, has their combined predictions, but no history and no weights. Neither has a run
    of another program's predictions, which has the split of one of comp's runs.
    """

    folder: Path

    @property
    def name(self) -> str:
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def competition(self) -> str:
        return str(self.record("config")["competition"])

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the runs that this one joins or ensembles; empty for a training."""
        return tuple(self.record("config").get("members", ()))

    @property
    def split_of(self) -> str | None:
        """The name of the run whose split this run has, where another program made its predictions."""
        return self.record("config").get("split_of")

    @property
    def without_weights(self) -> bool:
        """Whether no training made the run, so that it never has weights, a history or a recipe."""
        return bool(self.members or self.split_of)

    def beside(self, name: str) -> Run:
        """Another run of the same workspace."""
        return Run(self.folder.parent.parent / name)

    @property
    def trained(self) -> bool:
        return self.weights.is_file()

    @property
    def predicted(self) -> bool:
        return self.submission.is_file()

    @property
    def reported(self) -> bool:
        """Whether the run has a page, or a recorded reason for none."""
        return self.report.is_file() or self.has("no-report")

    @property
    def finished(self) -> bool:
        """Whether the run has weights to predict with, or predictions without weights, as of an ensemble."""
        return self.trained or self.predictions("test").is_file()

    @property
    def weights(self) -> Path:
        return self.checkpoint("model")

    @property
    def last(self) -> Path:
        """The state that a stopped training is resumed from."""
        return self.folder / "checkpoints" / "last.pt"

    def must_have_weights(self, remedy: str) -> None:
        """Raise RunError for a run without weights. remedy: what to do instead with {members}."""
        if self.split_of:
            raise RunError(f"{self.name} has another program's predictions and no weights; name a trained run.")
        if self.members:
            remedy = remedy.format(members=", ".join(self.members))
            raise RunError(f"{self.name} is made of other runs and has no weights; {remedy}.")

    def must_have_classes(self, classes: Sequence[str]) -> None:
        """Raise RunError unless the run was trained on these classes."""
        if self.record("config").get("classes") != list(classes):
            raise RunError(f"{self.name} was trained on other classes than the data now has; train again.")

    def joined_in(self) -> list[Run]:
        """The runs of joined folds that have this run as a member."""
        others = ((path, _config(path)) for path in sorted(self.folder.parent.glob("*/config.json")))
        return [
            Run(path.parent) for path, other in others if other.get("kind") == "folds" and self.name in other["members"]
        ]

    def held(self) -> AbstractContextManager[bool]:
        """Hold this run for the block, or until this process dies; yields False where another process holds it."""
        return held(self.log)

    @property
    def is_held(self) -> bool:
        """Whether a process works on this run."""
        return is_held(self.log)

    @property
    def lost(self) -> dict[int, int]:
        """The number of cycles kept of each stage that diverged or was undone, by the stage's number."""
        return {stage["number"]: stage["cycles_kept"] for stage in self.known("trained").get("diverged", ())}

    def checkpoint(self, name: str) -> Path:
        """The path of the weights saved under this name."""
        return self.folder / "checkpoints" / f"{name}.safetensors"

    @property
    def history(self) -> History:
        return History(self.folder)

    @property
    def submission(self) -> Path:
        return self.folder / "submission.csv"

    @property
    def edited(self) -> bool:
        """Whether submission.csv changed since it was written; False where the run's record has no fingerprint."""
        return self.known("scores").get("submission") not in (None, tag_of(self.submission))

    @property
    def leaderboard_score(self) -> float | None:
        """Kaggle's public score of the run's submission as it was written; None where another file was submitted."""
        submitted, written = self.known("submitted"), self.known("scores").get("submission")
        return submitted.get("score") if written in (None, submitted.get("file")) else None

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def predictions(self, part: str) -> Path:
        """The path of the probabilities of ``valid`` or ``test``."""
        return self.folder / "predictions" / f"{part}.parquet"

    def write_record(self, name: str, record: Mapping[str, Any]) -> None:
        """Write ``name``.json."""
        write_text(self.folder / f"{name}.json", json.dumps(record, indent=2) + "\n")

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write config.json; from then on the run is listed, as the latest."""
        self.write_record("config", {**config, "order": latest_order(self.folder.parent.parent) + 1})

    def record(self, name: str) -> dict[str, Any]:
        """Read ``name``.json; raises RunError where it is missing or can't be read."""
        path = self.folder / f"{name}.json"
        try:
            return _as_now(_object(path))
        except FileNotFoundError:
            if name == "config":
                raise RunError(f"The run {self.name} has no config.json: {self._remedy(name)}.") from None
            if name == "trained" and self.history.diverged:
                raise RunError(
                    f"The loss of {self.name} became NaN or infinite in its first cycle; train anew at a lower "
                    f"learning rate: `comp diagnose {self.name}` says at which."
                ) from None
            step = f"; `comp {MAKES[name]} {self.name}` does it" if name in MAKES else ""
            raise RunError(f"The run {self.name} has no {path.name}: that step is not done yet{step}.") from None
        except (ValueError, OSError) as error:
            raise RunError(f"{path} can't be read ({error}): {self._remedy(name)}.") from None

    def known(self, name: str) -> dict[str, Any]:
        """Read ``name``.json, empty where it is missing; raises RunError where it can't be read."""
        return self.record(name) if self.has(name) else {}

    @property
    def problem(self) -> str | None:
        """The sentence about a config that can't be read; None where it can."""
        try:
            self.record("config")
        except RunError as error:
            return str(error)
        return None

    def _remedy(self, name: str) -> str:
        if name in MAKES:
            return f"delete it, and `comp {MAKES[name]} {self.name}` makes it anew"
        shown = " (report.html shows it)" if name == "config" and self.report.is_file() else ""
        return f"put the file back{shown}, or delete {self.folder}"

    def remove_record(self, name: str) -> None:
        (self.folder / f"{name}.json").unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        return (self.folder / f"{name}.json").is_file()

    def write_split(self, ids: Iterable[str], parts: Iterable[str]) -> None:
        """Write split.csv: ``id`` and ``part``, which is train, valid or, for joined folds, the number of the fold."""
        with (
            replacing(self.folder / "split.csv") as unfinished,
            unfinished.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(("id", "part"))
            writer.writerows(zip(ids, parts, strict=True))

    def split(self) -> Iterator[tuple[str, str]]:
        """The id and the part of each row of split.csv, in order; raises RunError where it is missing or damaged."""
        path = self.folder / "split.csv"
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                columns = next(rows, [])
                id_, part = columns.index("id"), columns.index("part")
                yield from ((row[id_], row[part]) for row in rows if row)
        except FileNotFoundError:
            raise RunError(f"The run {self.name} has no split.csv, which says what validates; train anew.") from None
        except (OSError, LookupError, ValueError) as error:
            raise RunError(f"{path} can't be read ({error}); train anew.") from None

    def validating(self) -> set[str]:
        """The ids of the validation rows, by split.csv."""
        return {id_ for id_, part in self.split() if part != "train"}


# Whether a run got as far as it should.
Goal = Callable[[Run], bool]


def latest_order(runs: Path) -> int:
    """The highest order number of all runs in a folder; 0 where there is none."""
    return max((order_of(path) for path in runs.glob("*/*/config.json")), default=0)


def order_of(path: Path) -> int:
    """The run's order number; 0 where its config has none."""
    order = _config(path).get("order", 0)
    return order if isinstance(order, int) else 0


def _config(path: Path) -> dict[str, Any]:
    """A config.json, empty where it can't be read, so that one broken run doesn't keep the others from being listed."""
    try:
        return _object(path)
    except (OSError, ValueError):
        return {}


def _object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises OSError or ValueError where there is none."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it holds no object")  # noqa: TRY004 - the error of text that is no JSON
    return found


def _as_now(record: dict[str, Any]) -> dict[str, Any]:
    """Convert an import's config of an earlier version, which named the run whose split it has as its only member."""
    if record.get("kind") == "import" and "members" in record:
        (record["split_of"],) = record.pop("members")
    return record


def tag_of(csv: Path) -> str:
    """A submission file's fingerprint, at the end of its message at Kaggle: 12 hexadecimal digits of SHA-256."""
    with csv.open("rb") as file:
        return f"#{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"
