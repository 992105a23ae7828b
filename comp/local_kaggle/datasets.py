"""The data sets that were created on the local Kaggle from uploaded files."""

# ruff: noqa: ARG002 - every call has the same shape, whether or not it asks who asks
from __future__ import annotations

import re
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
    """The catalog's entries, under any owner, and the data sets that users created under their own names.

    folder: of the created data sets, ``<owner>/<name>/``.
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
                GetDatasetStatus=self._status,
            ),
        }

    def contents(self, handle: str) -> list[Path] | None:
        """The files and folders directly in ``owner/name``, created or in the catalog; None if it is neither."""
        owner, _, name = handle.partition("/")
        made = self._made(owner, name)
        if made is not None and made.is_dir():
            return sorted(made.iterdir())
        return self.catalog.contents(name) if self.catalog.has(name) else None

    def _announce(self, request: Any, asker: Asker) -> Any:
        if not 0 <= request.content_length <= LARGEST_FILE_BYTES:
            raise HTTPException(400, f"A file has at most {LARGEST_FILE_BYTES} bytes.")
        if PurePath(request.name or "").name != request.name or request.name.startswith("."):
            raise HTTPException(400, f"{request.name!r} is not the name of a file.")
        token = self.store.announce("", asker.team, request.name, request.content_length).token
        return filled(blobs.ApiStartBlobUploadResponse, token=token, create_url=f"{asker.base_url}/uploads/{token}")

    def _create(self, request: Any, asker: Asker) -> Any:
        """Create a data set, complete or not at all."""
        owner, name = request.owner_slug or asker.team, request.slug
        if owner != asker.team:
            raise HTTPException(403, "You can only create data sets under your own name.")
        folder = self._made(owner, name)
        if folder is None or not 6 <= len(request.title or "") <= 50:
            raise HTTPException(400, "A data set's slug has 3 to 50 letters, digits and dashes, its title 6 to 50.")
        answer = filled(datasets.ApiCreateDatasetResponse, ref=f"/datasets/{owner}/{name}", url=f"{asker.base_url}/")
        if self.contents(f"{owner}/{name}") is not None:
            answer.status, answer.error = "error", f"The title {request.title!r} is already in use by a data set."
            return answer
        uploads = [self.store.arrived(file.token) for file in request.files]
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".arriving-") as arriving:
            whole = Path(arriving) / name
            whole.mkdir()
            for upload in uploads:
                if upload is None or upload.team != asker.team:
                    raise HTTPException(400, "There is no such upload; upload the file again.")
                (self.store.uploads / upload.token).replace(whole / upload.file_name)
            whole.rename(folder)
        answer.status = "ok"
        return answer

    def _status(self, request: Any, asker: Asker) -> Any:
        if self.contents(f"{request.owner_slug}/{request.dataset_slug}") is None:
            raise HTTPException(403, "Permission 'datasets.get' was denied")
        return filled(datasets.ApiGetDatasetStatusResponse, status=DatabundleVersionStatus.READY)

    def _made(self, owner: str, name: str | None) -> Path | None:
        """The folder of a created data set, whether or not it exists; None for invalid names."""
        is_name = SLUG.fullmatch(name or "") and PurePath(owner).name == owner != ".."
        return self.folder / owner / str(name) if is_name else None
