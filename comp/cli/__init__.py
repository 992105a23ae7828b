"""The command line: parses, calls, prints."""

from comp.cli.commands import OBJECTS, SPINS, app, main

__all__ = ["OBJECTS", "SPINS", "app", "main"]
