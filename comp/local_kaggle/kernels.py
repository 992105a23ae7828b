"""The notebooks that were pushed to the local Kaggle, executed on this machine by its own Python.

A notebook has all rights of the user who started the server, whoever pushed it. So none is executed unless the server
was started with `comp serve --kernels`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import venv
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
from kagglesdk.kernels.types import kernels_api_service as kernels
from kagglesdk.kernels.types.kernels_enums import KernelWorkerStatus
from starlette.exceptions import HTTPException

from comp.files import write_text
from comp.local_kaggle.catalog import Catalog
from comp.local_kaggle.datasets import Datasets
from comp.local_kaggle.protocol import Asker, Calls, calls_of, filled, page_of

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{3,49}")  # Kaggle's limits
LOG = "log.txt"
SCRIPT = "script.py"
OFFLINE = Path(__file__).with_name("offline.py")


@dataclass(frozen=True)
class Version:
    """A version of a notebook: its number from 1, and its status and failure in Kaggle's words."""

    number: int
    status: str = "QUEUED"
    failure: str = ""


class Kernels:
    """Pushed notebooks. A context manager: at its end, running notebooks are stopped.

    folder: ``<owner>/<name>/`` with ``version.json`` and, for the latest version, ``execution/``: ``input/`` (links to
        its data sources), ``working/``, its log and its script.
    executing: whether notebooks are accepted at all.
    """

    def __init__(self, folder: Path, catalog: Catalog, datasets: Datasets, *, executing: bool) -> None:
        self._folder, self._catalog, self._datasets, self._executing = folder, catalog, datasets, executing
        self._under_way: dict[str, Version] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Kernels:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._under_way.clear()
        for process in self._processes:
            if process.poll() is None:
                _kill(process)
        for thread in self._threads:
            thread.join(5)

    def calls(self) -> Calls:
        return calls_of(
            "kernels.KernelsApiService",
            kernels,
            SaveKernel=self._save,
            GetKernelSessionStatus=self._status,
            ListKernelSessionOutput=self._output,
        )

    def file(self, owner: str, name: str, path: str) -> Path | None:
        """The path on disk of a file that the latest version wrote; None if it didn't."""
        handle = f"{owner}/{name}"
        if self._known(handle) is None:
            return None
        return dict(_written(self._execution(handle) / "working")).get(path)

    def _save(self, request: Any, asker: Asker) -> Any:
        if not self._executing:
            raise HTTPException(400, "This local Kaggle executes no notebooks; start it with `comp serve --kernels`.")
        handle = request.slug or ""
        owner, _, name = handle.partition("/")
        if owner != asker.team:
            raise HTTPException(403, "You can only push notebooks under your own name.")
        if not SLUG.fullmatch(name) or (request.new_title or "").lower().replace(" ", "-") != name:
            raise HTTPException(400, "A notebook's slug is its title, 5 to 50 letters, digits and dashes for spaces.")
        mounts = self._mounts(request)
        with self._lock:
            before = self._known(handle)
            version = self._under_way[handle] = Version(before.number + 1 if before else 1)
            self._keep(handle, version)
        folder = self._execution(handle)
        shutil.rmtree(folder, ignore_errors=True)
        _lay_out(folder, {mount: paths for mount, paths in mounts.items() if paths is not None}, _script(request))
        arguments = (handle, version, bool(request.enable_internet))
        self._threads.append(threading.Thread(target=self._execute, args=arguments, daemon=True))
        self._threads[-1].start()
        unknown = [mount.partition("/")[::2] for mount, paths in mounts.items() if paths is None]
        return filled(
            kernels.ApiSaveKernelResponse,
            invalid_competition_sources=[slug for kind, slug in unknown if kind == "competitions"],
            invalid_dataset_sources=[slug for kind, slug in unknown if kind == "datasets"],
            ref=f"/code/{handle}",
            url=f"{asker.base_url}/",
            version_number=version.number,
        )

    def _mounts(self, request: Any) -> dict[str, list[Path] | None]:
        """The contents of each data source by its path in ``input/``; None where there is no such source."""
        catalog = self._catalog
        return {
            f"competitions/{slug}": catalog.contents(slug) if catalog.has(slug) else None
            for slug in request.competition_data_sources
        } | {f"datasets/{handle}": self._datasets.contents(handle) for handle in request.dataset_data_sources}

    def _execute(self, handle: str, version: Version, internet: bool) -> None:
        folder = self._execution(handle)
        failure = ""
        try:
            python = make_environment(folder / "python", internet=internet)
            with self._lock:
                if self._under_way.get(handle) is not version:
                    return
                # Before the notebook can print anything.
                self._keep(handle, replace(version, status="RUNNING"))
                with (folder / LOG).open("wb") as log:
                    process = subprocess.Popen(
                        [python, "-u", folder / SCRIPT],
                        cwd=folder / "working",
                        env=variables(folder),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                self._processes.append(process)
            if status := process.wait():
                failure = f"The notebook ended with status {status}."
        except OSError as error:
            failure = str(error)
        with self._lock:
            # A notebook that was stopped with this server keeps its status: the next server reports that.
            if self._under_way.get(handle) is version:
                self._keep(handle, replace(version, status="ERROR" if failure else "COMPLETE", failure=failure))

    def _status(self, request: Any, asker: Asker) -> Any:
        version = self._own(f"{request.user_name}/{request.kernel_slug}", asker)
        return filled(
            kernels.ApiGetKernelSessionStatusResponse,
            status=KernelWorkerStatus[version.status],
            failure_message=version.failure,
        )

    def _output(self, request: Any, asker: Asker) -> Any:
        handle = f"{request.user_name}/{request.kernel_slug}"
        self._own(handle, asker)
        folder = self._execution(handle)
        page, token = page_of(list(_written(folder / "working")), request)
        log = folder / LOG
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        url = f"{asker.base_url}/outputs/{handle}"
        return filled(
            kernels.ApiListKernelSessionOutputResponse,
            next_page_token=token,
            log=json.dumps([{"stream_name": "stdout", "time": 0.0, "data": text}]),
            files=[
                filled(kernels.ApiKernelSessionOutputFile, file_name=name, url=f"{url}/{quote(name)}")
                for name, _ in page
            ],
        )

    def _own(self, handle: str, asker: Asker) -> Version:
        version = self._known(handle)
        if version is None or not handle.startswith(f"{asker.team}/"):
            raise HTTPException(403, "Permission 'kernels.get' was denied")
        return version

    def _known(self, handle: str) -> Version | None:
        """The latest version; with an error if an earlier server was stopped during its execution."""
        owner, _, name = handle.partition("/")
        if not SLUG.fullmatch(name) or owner in ("", ".", ".."):
            return None
        with contextlib.suppress(OSError, ValueError, TypeError):
            version = Version(**json.loads((self._folder / owner / name / "version.json").read_text(encoding="utf-8")))
            if version.status in ("QUEUED", "RUNNING") and handle not in self._under_way:
                return replace(version, status="ERROR", failure="The server was stopped.")
            return version
        return None

    def _keep(self, handle: str, version: Version) -> None:
        write_text(self._folder / handle / "version.json", json.dumps(asdict(version)))

    def _execution(self, handle: str) -> Path:
        return self._folder / handle / "execution"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all its children."""
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def make_environment(folder: Path, *, internet: bool) -> Path:
    """Create a Python with this one's packages except comp, like the image for Kaggle's notebooks; return its path."""
    venv.EnvBuilder(symlinks=True).create(folder)
    paths = sysconfig.get_paths("venv", {"base": str(folder), "platbase": str(folder)})
    packages = Path(paths["purelib"])
    # A path only: comp is importable by .pth files, which Python reads in its own site-packages only.
    (packages / "image.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    if not internet:
        shutil.copyfile(OFFLINE, packages / "sitecustomize.py")
    return Path(paths["scripts"]) / "python"


def variables(folder: Path) -> dict[str, str]:
    """The environment variables of a notebook in ``folder``: Kaggle's own, and no credentials."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("KAGGLE", "COMP_", "COLAB_", "PYTHONPATH", "VIRTUAL_ENV"))
    }
    return {
        **kept,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "temp"),
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_CACHE_MOUNT_FOLDER": str(folder / "input"),
    }


def _lay_out(folder: Path, mounts: Mapping[str, list[Path]], script: str) -> None:
    for name in ("working", "temp", "home", "input"):
        (folder / name).mkdir(parents=True)
    for mount, paths in mounts.items():
        mounted = folder / "input" / mount
        mounted.mkdir(parents=True)
        for path in paths:
            (mounted / path.name).symlink_to(path.resolve())
    (folder / SCRIPT).write_text(script, encoding="utf-8")


def _script(request: Any) -> str:
    """A notebook's code cells as one script; they must be plain Python."""
    try:
        notebook: Any = nbformat.reads(request.text, as_version=4)  # type: ignore[no-untyped-call]
        return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    except (ValueError, AttributeError) as error:
        raise HTTPException(400, "The source is not a notebook.") from error


def _written(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder, with their paths in it; links are skipped."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix(), path
