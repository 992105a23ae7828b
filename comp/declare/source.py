"""The files that a declaration and what it brings are made of: what others made is not used again after an edit."""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from comp.files import digest_of, home

LEFT_OUT = ("README.md", "__pycache__")
INSTALLED = {"site-packages", "dist-packages"}
# What a workspace has in it, which may lie in a competition's folder.
OF_WORKSPACE = ("cache", "data", "rehearsals", "runs")


def source_of(brought: Callable[..., Any]) -> str:
    """A digest of the files that a function or class of one's own is made of, see `source_at`; with its name, a key."""
    function = brought.func if isinstance(brought, partial) else brought
    if not hasattr(function, "__qualname__"):
        function = type(function)
    try:
        return source_at(function.__module__, Path(inspect.getsourcefile(inspect.unwrap(function)) or ""))
    except (TypeError, OSError):
        return ""  # built in, or typed into a notebook: its name has to do


def source_at(module: str, file: Path) -> str:
    """A digest of a module's file, or of all that a competition's folder has, and of the modules that these import.

    So on with what these import, but for what is Python's own, installed, or comp's.
    """
    found: dict[str, Path] = {}
    waiting = [(module, file)]
    while waiting:
        name, path = waiting.pop()
        folder = next((place for place in path.parents if (place / "competition.py").is_file()), None)
        for label, one in {name: path}.items() if folder is None else files_in(folder):
            if label not in found:
                found[label] = one
                within = label if folder is None else f"competitions.{label.removesuffix('.py').replace('/', '.')}"
                waiting += _imported(within, one) if one.suffix == ".py" else ()
    return digest_of(found)


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """All files in a competition's folder, by their paths from its own name on.

    Its README, bytecode, what is hidden, and what is a workspace's are none of it.
    """
    for place, folders, names in os.walk(folder):
        of_workspace = OF_WORKSPACE if Path(place).resolve() == home() else ()
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in (*LEFT_OUT, *of_workspace))
        for name in sorted(names):
            if name[0] != "." and name not in LEFT_OUT:
                path = Path(place, name)
                yield f"{folder.name}/{path.relative_to(folder).as_posix()}", path


def _imported(module: str, file: Path) -> Iterator[tuple[str, Path]]:
    """The modules that a file imports, wherever in it, and their packages."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (SyntaxError, ValueError, OSError):
        return
    package = module.split(".") if file.name == "__init__.py" else module.split(".")[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            start = ".".join([*above, *filter(None, [node.module])])
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != "comp" and parts[0] not in sys.stdlib_module_names:
                of_packages = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
                yield from ((one, path) for one in of_packages if (path := _file_of(one)) is not None)


def _file_of(module: str) -> Path | None:
    """The file of a module that isn't installed; None where there is none."""
    spec = _spec_of(module)
    if spec is None or not spec.has_location or INSTALLED & set(Path(spec.origin or "").parts):
        return None
    return Path(spec.origin or "")


def _spec_of(module: str) -> ModuleSpec | None:
    """Where a module is, without importing it or its packages."""
    if (loaded := sys.modules.get(module)) is not None:
        return getattr(loaded, "__spec__", None)
    package = module.rpartition(".")[0]
    if not package:
        return PathFinder.find_spec(module)
    within = _spec_of(package)
    if within is None or within.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(module, within.submodule_search_locations)
