"""The command line: it parses, calls and prints. Its door is `main`."""

from comp.cli.commands import OBJECTS, app, main

__all__ = ["OBJECTS", "app", "main"]
