"""A local Kaggle whose competitions have terms, as the real one's have."""

import datetime as dt
from dataclasses import dataclass

from comp.local_kaggle.protocol import DAILY_SUBMISSIONS, LocalKaggle, RefusedError


@dataclass(frozen=True)
class Terms:
    """What a competition allows.

    daily_submissions: how many a team may make a day of UTC. closed: it takes none any more. notebooks_only: it takes
        notebooks, not files. joined: whether those who ask have accepted its rules. newcomers_until: when that ended,
        in naive UTC.
    """

    daily_submissions: int = DAILY_SUBMISSIONS
    closed: bool = False
    notebooks_only: bool = False
    joined: bool = True
    newcomers_until: dt.datetime | None = None


@dataclass
class Strict(LocalKaggle):
    """Every competition has the same terms."""

    terms: Terms = Terms()

    def __post_init__(self):
        super().__post_init__()
        self.daily_submissions = self.terms.daily_submissions

    def _competition(self, request, asker):
        competition = super()._competition(request, asker)
        competition.submissions_disabled = self.terms.closed
        competition.is_kernels_submissions_only = self.terms.notebooks_only
        competition.user_has_entered = self.terms.joined
        competition.new_entrant_deadline = self.terms.newcomers_until
        return competition

    def _download_competition(self, request, asker):
        if not self.terms.joined:
            raise RefusedError(403, "You must accept this competition's rules before you can download its files.")
        return super()._download_competition(request, asker)

    def _submit(self, request, asker):
        if not self.terms.joined:
            raise RefusedError(403, "You must accept this competition's rules before you can submit to it.")
        if self.terms.closed:
            raise RefusedError(400, "This competition takes no more submissions.")
        return super()._submit(request, asker)
