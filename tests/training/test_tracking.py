from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from comp.runs import Run

OWN = """
from accelerate.tracking import GeneralTracker


class Lines(GeneralTracker):
    name, requires_logging_directory, tracker = "lines", False, None

    def __init__(self, folder):
        super().__init__()
        self.file = folder / "lines.txt"

    def store_init_configuration(self, values):
        self.write("config", values)

    def log(self, values, step=None):
        self.write(step, values)

    def finish(self):
        self.write("end", "")

    def write(self, *words):
        with self.file.open("a") as file:
            print(*words, file=file)


"""


@pytest.fixture
def train(shades, comp, serving):
    def start(*options):
        with serving(shades):
            comp("--competitions", shades.plugins, "download", "shades")
        return comp("--competitions", shades.plugins, "train", "shades", *options)

    return start


def test_tensorboard_has_each_step_each_epoch_and_the_config(train):
    run = Run(Path(train("--set", "log_with=tensorboard", "--set", "stages.cycle_length=3").last_line))
    shown = EventAccumulator(str(run.folder / "tensorboard")).Reload()
    steps, epochs = run.history.steps(), run.history.epochs()
    losses = shown.Scalars("loss")
    assert [point.step for point in losses] == list(range(1, len(steps) + 1))
    assert [point.value for point in losses] == pytest.approx(steps["loss"].tolist())
    assert [point.value for point in shown.Scalars("lr_head")] == pytest.approx(steps["lr_head"].tolist())
    for name, column in (("accuracy", "score"), ("valid_loss", "valid_loss")):
        assert [point.value for point in shown.Scalars(f"epoch/{name}")] == pytest.approx(epochs[column].tolist())
    (written,) = run.folder.glob("tensorboard/*/hparams.yml")
    assert "recipe.stages.1.cycle_length: 3" in written.read_text()


def test_a_tracker_of_one_s_own_is_told_the_same(shades, train):
    source = shades.declaration.read_text().replace("metric=", "log_with=Lines, metric=")
    shades.declaration.write_text(OWN + source)
    run = Run(Path(train().last_line))
    first, *told, last = (run.folder / "lines.txt").read_text().splitlines()
    assert first.startswith("config {")
    assert "'competition': 'shades'" in first
    assert last.startswith("end")
    assert len(told) == len(run.history.steps()) + len(run.history.epochs())


def test_a_tracker_that_isn_t_installed_is_named(train, monkeypatch, workspace):
    monkeypatch.setattr("comp.training.tracking.find_spec", lambda name: None)
    ended = train("--set", "log_with=mlflow")
    assert ended.status == 1
    assert "`log_with` is 'mlflow'" in ended.err
    assert not (workspace.runs / "shades").exists()
