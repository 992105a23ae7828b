"""The files of a declaration and its custom functions: a digest of them invalidates caches after an edit."""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from comp.files import digest_of, home

# Endings of files that no training reads: texts, notebooks, an editor's backups.
UNREAD = (".md", ".ipynb", "~")
INSTALLED = {"site-packages", "dist-packages"}
# The folders of a workspace, which may lie in a competition's folder.
OF_WORKSPACE = ("cache", "data", "rehearsals", "runs")


def source_of(part: Callable[..., Any]) -> str:
    """A digest of the files of a custom function or class, see `source_at`."""
    function = part.func if isinstance(part, partial) else part
    if not hasattr(function, "__qualname__"):
        function = type(function)
    try:
        return source_at(function.__module__, Path(inspect.getsourcefile(inspect.unwrap(function)) or ""))
    except (TypeError, OSError):
        return ""  # built-in, or from a notebook: only its name tells it apart


def source_at(module: str, file: Path) -> str:
    """A digest of a module's file, or of all files in a competition's folder, and of the modules they import.

    The imports of these modules count in turn, except the standard library, installed packages and comp.
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
    """All files in a competition's folder, by their paths that start with its name.

    Texts, notebooks, bytecode, hidden files and a workspace's folders are left out.
    """
    for place, folders, names in os.walk(folder):
        of_workspace = OF_WORKSPACE if Path(place).resolve() == home() else ()
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in ("__pycache__", *of_workspace))
        for name in sorted(names):
            if name[0] != "." and not name.endswith(UNREAD):
                path = Path(place, name)
                yield f"{folder.name}/{path.relative_to(folder).as_posix()}", path


def _imported(module: str, file: Path) -> Iterator[tuple[str, Path]]:
    """The modules that a file imports, anywhere in it, and their packages."""
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
    """The file of a module, found without importing it or its packages; None where it is installed or has none."""
    package, _, name = module.rpartition(".")
    if module in sys.modules or not package:
        spec = getattr(sys.modules[module], "__spec__", None) if module in sys.modules else PathFinder.find_spec(module)
        files = [Path(spec.origin or "")] if spec is not None and spec.has_location else []
    else:
        files = [folder / file for folder in _folders_of(package) for file in (f"{name}/__init__.py", f"{name}.py")]
    found = next((file for file in files if file.is_file()), None)
    return None if found is None or INSTALLED & set(found.parts) else found


def _folders_of(package: str) -> list[Path]:
    """The folders of a package's modules, found without importing it."""
    if package in sys.modules:
        return [Path(place) for place in getattr(sys.modules[package], "__path__", ())]
    above, _, name = package.rpartition(".")
    if above:
        return [folder / name for folder in _folders_of(above)]
    spec = PathFinder.find_spec(package)
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
