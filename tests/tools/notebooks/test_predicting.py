"""The predicting notebook, executed as at Kaggle: in a fresh Python, without network, with mounted inputs."""

import json
import os
import shlex
import shutil
import subprocess
import time

import nbformat
import pandas as pd
import pytest
import timm
from timm.models import save_for_hf

from comp.kaggle.client import connect
from comp.kaggle.notebooks import execution, output
from comp.local_kaggle.kernels import make_environment
from comp.local_kaggle.server import running
from comp.runs import Run
from tests.kaggle.conftest import official

pytestmark = pytest.mark.long

# Packages of comp that Kaggle's machines lack.
LACKING = ["iterstrat", "plotext", "pytorch_grad_cam", "remotezip", "py7zr"]
EXECUTE = """
import nbclient, nbformat, sys
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, kernel_name="python3", timeout=200).execute(cwd=sys.argv[2])
outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
print("".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs))
"""


@pytest.fixture
def backbone(tmp_path):
    """A folder with a backbone as timm saves it."""
    save_for_hf(timm.create_model("test_resnet"), tmp_path / "backbone", safe_serialization=True)
    return tmp_path / "backbone"


@pytest.fixture
def run(downloaded, on_shades, workspace, backbone):
    """A run of the shades with three snapshots."""
    settings = ("stages.cycles=3", "stages.cycle_length=2", "snapshots=3")
    chosen = ("--backbone", f"local-dir:{backbone}", *(f"--set={setting}" for setting in settings))
    for command in (("train", "shades", *chosen), ("predict", "shades")):
        ended = on_shades(*command)
        assert ended.status == 0, ended.err
    return Run(workspace.runs / "shades" / "standard-1")


@pytest.fixture
def written(run, on_shades, monkeypatch):
    """The folder that `comp notebook` writes for the run."""
    monkeypatch.setenv("COMP_KAGGLE_URL", "http://127.0.0.1:9")  # a local Kaggle needs no request for the user's name
    ended = on_shades("notebook", "shades/standard-1")
    assert ended.status == 0, ended.err
    monkeypatch.delenv("COMP_KAGGLE_URL")
    return run.folder / "kaggle"


def test_the_commands_that_push_it_can_be_copied_whatever_the_folder_is_called(
    run, on_shades, tmp_path, workspace, monkeypatch
):
    home = shutil.copytree(workspace.folder, tmp_path / "a home's", symlinks=True)
    monkeypatch.setenv("COMP_HOME", str(home))
    monkeypatch.setenv("COMP_KAGGLE_URL", "http://127.0.0.1:9")
    *_, create, push, folder = on_shades("notebook", "shades/standard-1").out.splitlines()
    assert shlex.split(create.partition("(")[0])[1:] == ["kaggle", "datasets", "create", "-p", f"{folder}/data"]
    assert shlex.split(push)[1:] == ["kaggle", "kernels", "push", "-p", folder]


def in_kaggle_s_place(place, notebook):
    """Execute the notebook with Jupyter's client in a fresh Python, without comp and without internet."""
    python = make_environment(place / "python", internet=False)
    (packages,) = (place / "python").glob("lib/*/site-packages")
    (packages / "lacking.pth").write_text(f"import sys; sys.modules.update(dict.fromkeys({LACKING}))\n")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_CACHE_MOUNT_FOLDER": str(place / "input"),
        "COMP_HOME": str(place / "nowhere"),
    }
    alone = subprocess.run([python, "-c", "import comp"], env=variables, cwd=place, capture_output=True, check=False)
    assert b"No module named 'comp'" in alone.stderr
    (place / "working").mkdir()
    return subprocess.run(
        [python, "-c", EXECUTE, notebook, place / "working"],
        env=variables,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_network_it_gives_the_run_s_submission_and_pushed_by_kaggle_s_client_predicts_what_is_mounted(
    run, written, shades, backbone, tmp_path
):
    names = {path.name for path in (written / "data").iterdir()}
    kept = run.record("trained")["snapshots"]
    snapshots = {f"runs--shades--standard-1--checkpoints--{name}.safetensors" for name in kept}
    assert len(snapshots) == 2
    assert names - snapshots == {
        "dataset-metadata.json",
        "comp_starter-0.1.0-py3-none-any.whl",
        "competitions--shades--competition.py",
        "backbone--config.json",
        "runs--shades--standard-1--config.json",
        "runs--shades--standard-1--trained.json",
        "runs--shades--standard-1--scores.json",
        "runs--shades--standard-1--checkpoints--model.safetensors",
    }
    described = json.loads((written / "kernel-metadata.json").read_text())
    assert described["enable_internet"] is False
    assert described["competition_sources"] == ["shades"]
    assert described["dataset_sources"] == ["you/comp-shades-standard-1"]
    nbformat.validate(nbformat.read(written / "predict.ipynb", as_version=4))

    shutil.rmtree(backbone)
    place = tmp_path / "there"
    (place / "input").mkdir(parents=True)
    shutil.copytree(shades.files, place / "input" / "shades")
    shutil.copytree(written / "data", place / "input" / "comp-shades-standard-1")
    ended = in_kaggle_s_place(place, written / "predict.ipynb")
    assert ended.returncode == 0, ended.stderr
    assert "nothing is downloaded" in ended.stdout
    assert (place / "working" / "submission.csv").read_bytes() == run.submission.read_bytes()
    assert [path.name for path in (place / "working").iterdir()] == ["submission.csv"]

    # With another test set than in training, and without training images.
    before = pd.read_parquet(run.predictions("test")).set_index("id")
    (shades.files / "test" / "q03.png").unlink()
    (shades.files / "test" / "q00.png").write_bytes(b"no image")
    shades.image("test/z1.png", "red")
    shades.text("sample_submission.csv", ["id,colour", "z1,red", "q00,red", *(f"q{n:02},red" for n in (1, 2, 11, 5))])
    shutil.rmtree(shades.files / "train")
    (shades.files / "train.csv").unlink()
    with running(shades.served, {}, tmp_path / "state", kernels=True) as url:
        kaggle, api = connect(url), official(url, "you")
        assert api.dataset_create_new(written / "data", quiet=True).status == "ok"
        assert api.dataset_status("you/comp-shades-standard-1").lower() == "ready"
        pushed = api.kernels_push(written)
        assert (pushed.error, pushed.invalid_dataset_sources, pushed.invalid_competition_sources) == ("", [], [])
        handle = pushed.ref.removeprefix("/code/")
        while (now := execution(kaggle, handle)).status in ("queued", "running"):
            time.sleep(0.3)
        found = output(kaggle, handle)
        assert now.status == "complete", found.log
        submission = pd.read_csv(found.files["submission.csv"], dtype=str).set_index("id")["colour"]
    assert list(submission.index) == ["z1", "q00", "q01", "q02", "q11", "q05"]
    kept = ["q01", "q02", "q11", "q05"]
    assert (submission[kept] == before.idxmax(axis=1)[kept]).all()
    assert submission["z1"] == "red"
    assert "1 test image can't be read" in found.log
