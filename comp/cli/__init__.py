"""The command line: parses, calls, prints."""

from comp.cli.commands import OBJECTS, app, main

__all__ = ["OBJECTS", "app", "main"]
