"""The data sets that were made on the local Kaggle: uploaded files, version by version."""

# ruff: noqa: ARG002 - every call has the same shape, whether or not it asks who asks
from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from kagglesdk.blobs.types import blob_api_service as blobs
from kagglesdk.datasets.types import dataset_api_service as datasets
from kagglesdk.datasets.types.dataset_enums import DatabundleVersionStatus
from starlette.exceptions import HTTPException

from comp.local_kaggle.catalog import Catalog
from comp.local_kaggle.protocol import Asker, Calls, calls_of, filled
from comp.local_kaggle.store import Store

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,49}")  # Kaggle's limits
LARGEST_FILE_BYTES = 100 << 30


@dataclass(frozen=True)
class Datasets:
    """The catalog's entries, under any owner, and those that were made under one's own name.

    folder: of those that were made, ``<owner>/<name>/<version>/``.
    """

    folder: Path
    store: Store
    catalog: Catalog

    def calls(self) -> Calls:
        return {
            **calls_of("blobs.BlobApiService", blobs, StartBlobUpload=self._announce),
            **calls_of(
                "datasets.DatasetApiService",
                datasets,
                CreateDataset=self._create,
                CreateDatasetVersion=self._create_version,
                GetDatasetStatus=self._status,
            ),
        }

    def contents(self, handle: str) -> list[Path] | None:
        """The files and folders right in ``owner/name``: its latest version, or the catalog's; None without either."""
        owner, _, name = handle.partition("/")
        versions = self._versions(owner, name)
        if versions:
            return sorted((self.folder / owner / name / str(versions[-1])).iterdir())
        return self.catalog.contents(name) if self.catalog.has(name) else None

    def _announce(self, request: Any, asker: Asker) -> Any:
        if not 0 <= request.content_length <= LARGEST_FILE_BYTES:
            raise HTTPException(400, f"A file has at most {LARGEST_FILE_BYTES} bytes.")
        if PurePath(request.name or "").name != request.name or request.name.startswith("."):
            raise HTTPException(400, f"{request.name!r} is not the name of a file.")
        token = self.store.announce("", asker.team, request.name, request.content_length).token
        return filled(blobs.ApiStartBlobUploadResponse, token=token, create_url=f"{asker.base_url}/uploads/{token}")

    def _create(self, request: Any, asker: Asker) -> Any:
        owner, name = request.owner_slug or asker.team, request.slug
        if not SLUG.fullmatch(name or "") or not 6 <= len(request.title or "") <= 50:
            raise HTTPException(400, "A data set's slug has 3 to 50 letters, digits and dashes, its title 6 to 50.")
        if self.catalog.has(name) or self._versions(owner, name):
            return _answer(asker, owner, name, error=f"The title {request.title!r} is already in use by a data set.")
        self._add(owner, name, request.files, asker)
        return _answer(asker, owner, name)

    def _create_version(self, request: Any, asker: Asker) -> Any:
        owner, name = request.owner_slug, request.dataset_slug
        if not self._versions(owner, name):
            raise HTTPException(404, "Not found")
        self._add(owner, name, request.body.files, asker)
        return _answer(asker, owner, name)

    def _status(self, request: Any, asker: Asker) -> Any:
        if self.contents(f"{request.owner_slug}/{request.dataset_slug}") is None:
            raise HTTPException(403, "Permission 'datasets.get' was denied")
        return filled(datasets.ApiGetDatasetStatusResponse, status=DatabundleVersionStatus.READY)

    def _add(self, owner: str, name: str, files: list[Any], asker: Asker) -> None:
        """The next version, there whole or not at all."""
        if owner != asker.team:
            raise HTTPException(403, "Data sets are made under one's own name.")
        uploads = [self.store.upload(file.token) for file in files]
        folder = self.folder / owner / name
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".arriving-") as arriving:
            version = Path(arriving) / "version"
            version.mkdir()
            for upload in uploads:
                if upload is None or upload.team != asker.team or not (self.store.uploads / upload.token).is_file():
                    raise HTTPException(400, "There is no such upload; upload the file again.")
                shutil.copyfile(self.store.uploads / upload.token, version / upload.file_name)
            version.rename(folder / str(max(self._versions(owner, name), default=0) + 1))
        for upload in filter(None, uploads):
            (self.store.uploads / upload.token).unlink()
            self.store.forget(upload.token)

    def _versions(self, owner: str, name: str) -> list[int]:
        folder = self.folder / owner / name
        if not (SLUG.fullmatch(name or "") and PurePath(owner).name == owner and folder.is_dir()):
            return []
        return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def _answer(asker: Asker, owner: str, name: str, error: str = "") -> Any:
    return filled(
        datasets.ApiCreateDatasetResponse,
        ref=f"/datasets/{owner}/{name}",
        url=f"{asker.base_url}/",
        status="error" if error else "ok",
        error=error,
    )
