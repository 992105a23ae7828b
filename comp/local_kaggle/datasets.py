"""The data sets that were made on the local Kaggle: uploaded files, version by version."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from kagglesdk.blobs.types import blob_api_service as blobs
from kagglesdk.datasets.types import dataset_api_service as datasets
from kagglesdk.datasets.types.dataset_enums import DatabundleVersionStatus

from comp.local_kaggle.protocol import Asker, Call, RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comp.local_kaggle.catalog import Catalog
    from comp.local_kaggle.store import Store

SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,49}")  # Kaggle's limits
LARGEST_FILE_BYTES = 100 << 30


class Datasets:
    """What is in the catalog, under any owner, and what was made under one's own name.

    folder: what was made, ``<owner>/<name>/<version>/``. uploads: where announced files arrive.
    """

    def __init__(self, folder: Path, uploads: Path, store: Store, catalog: Catalog) -> None:
        self._folder, self._uploads, self._store, self._catalog = folder, uploads, store, catalog

    def calls(self) -> Mapping[tuple[str, str], Call]:
        service = "datasets.DatasetApiService"
        return {
            ("blobs.BlobApiService", "StartBlobUpload"): (blobs.ApiStartBlobUploadRequest, self._announce),
            (service, "CreateDataset"): (datasets.ApiCreateDatasetRequest, self._create),
            (service, "CreateDatasetVersion"): (datasets.ApiCreateDatasetVersionRequest, self._create_version),
            (service, "GetDatasetStatus"): (datasets.ApiGetDatasetStatusRequest, self._status),
        }

    def things(self, handle: str) -> list[Path] | None:
        """What is right in ``owner/name``: its latest version, or the catalog's; None where there is neither."""
        owner, _, name = handle.partition("/")
        versions = self._versions(owner, name)
        if versions:
            return sorted((self._folder / owner / name / str(versions[-1])).iterdir())
        return self._catalog.things(name) if self._catalog.has(name) else None

    def _announce(self, request: Any, asker: Asker) -> Any:
        if not 0 <= request.content_length <= LARGEST_FILE_BYTES:
            raise RefusedError(400, f"A file has at most {LARGEST_FILE_BYTES} bytes.")
        if PurePath(request.name or "").name != request.name or request.name.startswith("."):
            raise RefusedError(400, f"{request.name!r} is not the name of a file.")
        upload = self._store.announce("", asker.team, request.name, request.content_length)
        response = blobs.ApiStartBlobUploadResponse()
        response.token = upload.token
        response.create_url = f"{asker.base_url}/uploads/{upload.token}"
        return response

    def _create(self, request: Any, asker: Asker) -> Any:
        owner, name = request.owner_slug or asker.team, request.slug
        if not SLUG.fullmatch(name or "") or not 6 <= len(request.title or "") <= 50:
            raise RefusedError(400, "A data set's slug has 3 to 50 letters, digits and dashes, its title 6 to 50.")
        if self._catalog.has(name) or self._versions(owner, name):
            return _answer(asker, owner, name, error=f"The title {request.title!r} is already in use by a data set.")
        self._add(owner, name, request.files, asker)
        return _answer(asker, owner, name)

    def _create_version(self, request: Any, asker: Asker) -> Any:
        owner, name = request.owner_slug, request.dataset_slug
        if not self._versions(owner, name):
            raise RefusedError(404, "Not found")
        self._add(owner, name, request.body.files, asker)
        return _answer(asker, owner, name)

    def _status(self, request: Any, asker: Asker) -> Any:  # noqa: ARG002
        if self.things(f"{request.owner_slug}/{request.dataset_slug}") is None:
            raise RefusedError(403, "Permission 'datasets.get' was denied")
        response = datasets.ApiGetDatasetStatusResponse()
        response.status = DatabundleVersionStatus.READY
        return response

    def _add(self, owner: str, name: str, files: list[Any], asker: Asker) -> None:
        """The next version, there whole or not at all."""
        if owner != asker.team:
            raise RefusedError(403, "Data sets are made under one's own name.")
        uploads = [self._store.upload(file.token) for file in files]
        place = self._folder / owner / name
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place, prefix=".arriving-") as arriving:
            version = Path(arriving) / "version"
            version.mkdir()
            for upload in uploads:
                if upload is None or upload.team != asker.team or not (self._uploads / upload.token).is_file():
                    raise RefusedError(400, "There is no such upload; upload the file again.")
                shutil.copyfile(self._uploads / upload.token, version / upload.file_name)
            version.rename(place / str(max(self._versions(owner, name), default=0) + 1))
        for upload in filter(None, uploads):
            (self._uploads / upload.token).unlink()
            self._store.forget(upload.token)

    def _versions(self, owner: str, name: str) -> list[int]:
        place = self._folder / owner / name
        if not (SLUG.fullmatch(name or "") and PurePath(owner).name == owner and place.is_dir()):
            return []
        return sorted(int(path.name) for path in place.iterdir() if path.name.isdecimal())


def _answer(asker: Asker, owner: str, name: str, error: str = "") -> Any:
    response = datasets.ApiCreateDatasetResponse()
    response.ref, response.url = f"/datasets/{owner}/{name}", f"{asker.base_url}/"
    response.status, response.error = "error" if error else "ok", error
    return response
