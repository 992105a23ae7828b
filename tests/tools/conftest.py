import pytest

from comp import runner
from comp.console import Console
from comp.runs.choices import Choices

STRONG = """    recipes={
        "strong": Ensemble(
            members=[
                Recipe(
                    backbone=backbone,
                    pretrained=False,
                    batch_size=8,
                    stages=[Stage(size=size, train="head", cached=True, **how)],
                )
                for backbone, size, how in (
                    ("test_resnet", 16, {"cycle_length": 8, "learning_rate": 1e-2}),
                    ("test_efficientnet", 32, {"schedule": "lbfgs"}),
                )
            ],
            folds=2,
        ),
"""


@pytest.fixture
def strong(downloaded):
    """The downloaded shades, with a recipe of two trainings in two folds each."""
    declared = downloaded.declaration.read_text().replace("import ClassName,", "import ClassName, Ensemble,")
    assert "    recipes={\n" in declared
    downloaded.declaration.write_text(declared.replace("    recipes={\n", STRONG))
    return downloaded.competition


@pytest.fixture
def train(strong, workspace):
    """Trains by these choices; returns the run and the console's text."""

    def start(**chosen):
        said = Console()
        said.say = (lines := []).append
        return runner.train(strong, Choices(**{"recipe": "strong", **chosen}), workspace, said), "\n".join(lines)

    return start
