"""Competitions that the local Kaggle can make from what every installation already has."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import pandas as pd

TEST_SHARE = 0.25


def build_digits(folder: Path, slug: str) -> None:
    """scikit-learn's 1,797 handwritten digits as ``folder/<slug>``, with a quarter of the labels as hidden answers.

    The data are real (UCI's Optical Recognition of Handwritten Digits, Alpaydin and Kaynak 1998): 8 x 8 pixels in 17
    shades. Does nothing where the folder is already there.
    """
    place, answers = folder / slug, folder / ".answers" / f"{slug}.csv"
    if place.is_dir() and answers.is_file():
        return
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = (digits.images * (255 / 16)).astype(np.uint8)
    rows = np.arange(len(pixels))
    train, test = train_test_split(rows, test_size=TEST_SHARE, stratify=digits.target, random_state=0)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".building-") as building:
        unfinished = Path(building) / slug
        for part, chosen in (("train", train), ("test", test)):
            (unfinished / part).mkdir(parents=True)
            for row in chosen:
                image = Image.fromarray(pixels[row])
                image.save(unfinished / part / f"{row:04}.png")
        _table(train, digits.target).to_csv(unfinished / "train.csv", index=False)
        _table(test, np.zeros(len(pixels), int)).to_csv(unfinished / "sample_submission.csv", index=False)
        answers.parent.mkdir(exist_ok=True)
        _table(test, digits.target).to_csv(answers, index=False)
        shutil.rmtree(place, ignore_errors=True)
        unfinished.rename(place)


def _table(rows: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    chosen = np.sort(rows)
    return pd.DataFrame({"id": [f"{row:04}" for row in chosen], "label": labels[chosen]})


BUNDLED: Mapping[str, Callable[[Path, str], None]] = {"digits": build_digits}
