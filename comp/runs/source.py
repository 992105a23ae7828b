"""Digests of comp's own source, so that what edited code would make is not taken for what was made before."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import comp
from comp.files import digest_of_source

ROOT = Path(comp.__file__).parent.parent


@cache
def source_digest(*modules: str) -> str:
    """A digest, 16 hexadecimal digits, of the source of modules by name: ``source_digest("comp.data.images")``.

    A package stands for all modules in it. None is imported. Raises ModuleNotFoundError for a name that is none of
    comp's. The digest of what a competition's own folder defines is `Competition.source`.
    """
    files: list[Path] = []
    for module in modules:
        path = ROOT.joinpath(*module.split("."))
        found = [path.with_suffix(".py")] if path.with_suffix(".py").is_file() else sorted(path.rglob("*.py"))
        if not found:
            raise ModuleNotFoundError(f"There is no module {module!r} in {ROOT}.")
        files += found
    return digest_of_source(files, ROOT)
