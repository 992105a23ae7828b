"""A map of images that puts similar ones near each other: t-SNE of cached features, or of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from comp.data.reading import Reading, centre, read_image
from comp.data.tables import Tables
from comp.training.features import features_of

Array = npt.NDArray[Any]

# More dots would hide each other, and take longer.
DOTS = 1000
FEWEST = 20
PERPLEXITY = 30
COMPONENTS = 50
PIXELS = 16
# The most frequent classes, this many, have a colour and a name in the map.
NAMED = 20
WIDTH, HEIGHT = 1000, 560


def nearby(tables: Tables, truth: Array, cache: Path, reading: Reading, seed: int) -> dict[str, Any] | None:
    """The dots of some labelled images, drawn by the seed, and their classes' names; None for too few images.

    truth: (N, C) of bool. The map is a t-SNE (van der Maaten & Hinton 2008) of the first principal components of the
    features that a training last cached of exactly these images; without any, of thumbnails PIXELS pixels wide.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(truth))[:DOTS])
    if len(rows) < FEWEST:
        return None
    contents = tables.train["content"].tolist() if "content" in tables.train else None
    cached = features_of(cache, tables.train["path"].array, contents, reading.read)
    if cached is None:
        paths = tables.train["path"].array[rows]
        found = np.stack([centre(read_image(Path(path), PIXELS, reading), PIXELS).ravel() for path in paths])
    else:
        found = np.asarray(cached[rows, 0]).reshape(len(rows), cached.shape[2], -1).mean(axis=-1)
    found = PCA(min(COMPONENTS, *found.shape), random_state=seed).fit_transform(found.astype(float))
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(found)
    low, high = places.min(axis=0), places.max(axis=0)
    places = 20 + (places - low) / np.where(high > low, high - low, 1) * (np.array([WIDTH, HEIGHT]) - 40)
    frequent = np.argsort(-truth[rows].sum(axis=0), kind="stable")[:NAMED].tolist()
    first = truth[rows].argmax(axis=1)
    dots = [
        {
            "x": round(float(x), 1),
            "y": round(float(y), 1),
            "colour": frequent.index(label) % 6 + 1 if label in frequent else 0,
            "title": f"{id_}: {tables.classes[label]}",
        }
        for (x, y), label, id_ in zip(places, first.tolist(), tables.train["id"].iloc[rows], strict=True)
    ]
    names = [
        {"name": tables.classes[label], "x": float(middle[0]), "y": float(middle[1])}
        for label in frequent
        if (first == label).any()
        for middle in [np.median(places[first == label], axis=0).round(1)]
    ]
    return {"dots": dots, "names": names, "by_features": cached is not None, "width": WIDTH, "height": HEIGHT}
