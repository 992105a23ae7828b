import numpy as np
import pytest


@pytest.fixture
def shaded(predicting, shades):
    return predicting(shades)


@pytest.fixture
def parts(shaded):
    """Of the 36 labelled images of shades every third validates."""
    return np.where(np.arange(len(shaded.tables.train)) % 3 == 0, "valid", "train")
