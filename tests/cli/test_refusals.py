import shutil
import socket

import pytest

from comp.training import backbone
from tests.cli.spoiling import TINY, nothing_half_written


def test_an_unknown_competition_is_told_which_there_are(sentence, workspace):
    said = sentence("run", "cats-vs-cats")
    assert said == "There is no competition 'cats-vs-cats'; there are digits, dog-breeds, dogs-vs-cats, planet."
    assert not workspace.folder.exists()


def test_an_unknown_backbone_is_told_what_is_near(run_shades):
    said = run_shades("--backbone", "resnet_35")
    assert said.startswith("timm knows no backbone 'resnet_35'; near it are ")
    assert "resnet" in said.partition("near it are ")[2]


def test_without_credentials_it_is_said_how_to_get_them(sentence, workspace, monkeypatch):
    def no_network(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    said = sentence("run", "planet", "--recipe", "quick")
    assert "Kaggle wants to know who is asking" in said
    assert "KAGGLE_API_TOKEN" in said
    nothing_half_written(workspace.folder)


def test_a_server_that_is_not_there_is_named(sentence, workspace, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("COMP_KAGGLE_URL", url)
        said = sentence("run", "planet", "--recipe", "quick")
    assert url in said
    nothing_half_written(workspace.folder)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda made: made.text(
                "train.csv", (made.files / "train.csv").read_text().replace("colour", "color").split()
            ),
            "train.csv has no column 'colour'; its columns are id, color.",
        ),
        (lambda made: (made.files / "train/t07.png").unlink(), "1 of 36 rows of train.csv have no image, the first "),
        (lambda made: made.image("train/t99.png", "red"), "t99.png; add their labels"),
        (lambda made: (made.files / "test/q03.png").unlink(), "the first 'q03'"),
    ],
    ids=["no such column", "a label without its image", "an image without a label", "a test image that is not there"],
)
def test_what_is_wrong_with_the_files_is_named(shades, run_shades, spoil, says):
    spoil(shades)
    assert says in run_shades()


def test_an_override_of_the_wrong_kind_is_said_before_anything_is_downloaded(run_shades, workspace, tmp_path):
    for arguments, says in [
        (("--set", "batch_size=many"), "`batch_size` is 'many', but it should be a whole number of at least 2"),
        (("--set", "stages.1.size=big"), "`size` is 'big', but it should be a whole number from 8 to 4096"),
        (("--set", "stages.size"), "--set takes field=value"),
        (("--set", "sizes=3"), "'sizes' is 'size' of the stages; write stages.size=3"),
        (("--recipe", "fast"), "shades has no recipe 'fast'; it has standard"),
    ]:
        assert says in run_shades(*arguments)
    assert not workspace.folder.exists()
    assert f"{tmp_path / 'mine'} doesn't exist" in run_shades("--backbone", f"local-dir:{tmp_path / 'mine'}")


def test_an_image_that_breaks_after_it_was_screened_is_named_and_leaves_no_features(
    shades, serving, sentence, workspace, monkeypatch
):
    build = backbone.build_classifier

    def breaking(*arguments, **options):
        (workspace.data("shades") / "train" / "t05.png").write_bytes(b"not an image")
        return build(*arguments, **options)

    monkeypatch.setattr("comp.training.prepared.build_classifier", breaking)
    with serving(shades):
        said = sentence("--competitions", shades.plugins, "run", "shades", *TINY)
    assert "t05.png can't be read as an image" in said
    assert not list((workspace.cache / "features").iterdir())


def test_what_is_not_there_is_named(downloaded, refused, on_shades, workspace, tmp_path):
    assert str(tmp_path / "none") in refused("serve", tmp_path / "none", "--port", "0")
    assert "There is no run '/no/such/run'" in refused("predict", "/no/such/run")
    assert f"{tmp_path / 'none'} doesn't exist" in refused("--competitions", tmp_path / "none", "list")
    on_shades("train", "shades", *TINY)
    shutil.rmtree(workspace.data("shades"))
    assert "run `comp download shades` first" in refused("predict", "shades")
