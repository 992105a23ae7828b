import shutil
import socket

from comp.training import backbone
from tests.cli.conftest import TINY, nothing_half_written


def test_an_unknown_competition_is_told_which_there_are(sentence, workspace):
    said = sentence("run", "cats-vs-cats")
    assert said == "There is no competition 'cats-vs-cats'; there are digits, dog-breeds, dogs-vs-cats, planet."
    assert not workspace.folder.exists()


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


def test_what_is_wrong_with_the_files_is_named_and_nothing_half_written(shades, serving, refused, workspace):
    (shades.files / "train/t07.png").unlink()
    with serving(shades):
        assert "1 of 36 rows of train.csv have no image, the first " in refused("run", "shades")
    nothing_half_written(workspace.folder)


def test_an_override_of_the_wrong_kind_is_said_before_anything_is_downloaded(refused, workspace):
    for arguments, says in [
        (("--set", "batch_size=many"), "`batch_size` is 'many', but it should be a whole number of at least 2"),
        (("--recipe", "fast"), "shades has no recipe 'fast'; it has standard"),
    ]:
        assert says in refused("run", "shades", *arguments)
    assert not workspace.folder.exists()


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
