"""Other teams of a competition: submissions that lie with its hidden answers, and are scored like everybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comp.errors import SubmissionError
from comp.local_kaggle.grading import grade

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comp.local_kaggle.catalog import Catalog
    from comp.local_kaggle.grading import Grader
    from comp.local_kaggle.store import Store


def enter_rivals(catalog: Catalog, store: Store, graders: Mapping[str, Grader]) -> None:
    """Put each rival that isn't there yet on the leaderboard of its competition.

    Raises SubmissionError where a rival's file can't be scored.
    """
    for slug in catalog.slugs():
        rivals = [path for path in catalog.rivals(slug) if not store.submissions(slug, path.stem)]
        answers, grader = catalog.answers(slug), graders.get(slug) if rivals else None
        if answers is None or grader is None:
            continue
        for path in rivals:
            try:
                scores = grade(grader, answers, path)
            except SubmissionError as error:
                raise SubmissionError(f"{path} can't be scored: {error} Mend it, or delete it.") from error
            store.enter(slug, path.stem, path.name, path.stat().st_size, scores)
