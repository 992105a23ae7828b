"""How a download tells how far it is, and anything what it waits for."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as bytes arrive: how many are there, and of how many in all, or None where the server doesn't say."""

    def __call__(self, done_bytes: int, total_bytes: int | None, /) -> None: ...


class ProgressOf(Protocol):
    """Makes the Progress of one download from the name of its file; several downloads may be under way at once."""

    def __call__(self, name: str, /) -> Progress: ...


class Say(Protocol):
    """Called with one line for a person; from any thread."""

    def __call__(self, line: str, /) -> None: ...


def silent(done_bytes: int, total_bytes: int | None, /) -> None:
    """Progress that nobody watches."""


def silent_for(name: str, /) -> Progress:  # noqa: ARG001
    return silent


def unheard(line: str, /) -> None:
    """Lines that nobody reads."""


def amount(size: float) -> str:
    """A number of bytes, for a person."""
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"
