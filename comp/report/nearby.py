"""A map of images in which those that look alike lie near each other: t-SNE of cached features, or of pixels."""

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

# More dots than these hide each other, and take their time.
DOTS = 1000
FEWEST = 20
PERPLEXITY = 30
COMPONENTS = 50
PIXELS = 16
# Classes that have a colour and a name in the map: the most frequent.
NAMED = 20
WIDTH, HEIGHT = 1000, 560


def nearby(tables: Tables, truth: Array, cache: Path, reading: Reading, seed: int) -> dict[str, Any] | None:
    """The dots of some labelled images, drawn from the seed, and the names of their classes; None for too few images.

    truth: (N, C) of bool. The features are those of a frozen backbone that a training cached of just these images last
    (van der Maaten & Hinton 2008, t-SNE, of their first principal components); without any, pictures of PIXELS pixels
    stand for them.
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
