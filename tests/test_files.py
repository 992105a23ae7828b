import ast
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from comp import files
from comp.files import ROOT, alone, held, is_held, replacing, source_digest, sweep, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("error", [None, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, "old"])
def test_the_old_content_is_there_alone_until_the_new_is_whole_and_stays_after_an_exception(tmp_path, error, old):
    path = tmp_path / "deep" / "er" / "weights"
    if old is not None:
        path.parent.mkdir(parents=True)
        path.write_text(old)
    with pytest.raises(error) if error else nullcontext(), replacing(path) as unfinished:
        unfinished.write_text("new")
        assert path.exists() == (old is not None)
        assert unfinished.parent == path.parent
        if error:
            raise error
    kept = old if error else "new"
    assert [file.read_text() for file in path.parent.iterdir()] == ([] if kept is None else [kept])


def test_a_place_that_cannot_be_written_is_left_as_it_was(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html"):
        write_text(tmp_path / "report.html", "text")
    assert names(tmp_path) == ["report.html"]
    assert names(tmp_path / "report.html") == []


def test_two_writers_at_once_do_not_mix(tmp_path):
    path = tmp_path / "scores.json"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert names(tmp_path) == ["scores.json"]


def test_a_file_is_held_by_one_at_a_time_and_let_go_of_and_others_can_ask(tmp_path):
    assert not is_held(tmp_path / "log")
    with held(tmp_path / "log") as mine:
        assert mine
        with held(tmp_path / "log") as other:
            assert not other
        assert is_held(tmp_path / "log")
    assert not is_held(tmp_path / "log")
    with held(tmp_path / "log") as mine:
        assert mine


@pytest.mark.parametrize("how", ["killed", "with a child that lives on"])
def test_a_process_that_dies_lets_go(tmp_path, how):
    """Also if a worker that reads images outlives it."""
    ready, hold = os.pipe()
    child = os.fork()
    if not child:
        with held(tmp_path / "log"):
            if how != "killed" and os.fork() == 0:
                os.close(hold)
                os.read(ready, 1)
                os._exit(0)
            (tmp_path / "holds").touch()
            time.sleep(60)
        os._exit(1)
    while not (tmp_path / "holds").exists():
        time.sleep(0.01)
    with held(tmp_path / "log") as mine:
        assert not mine
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with held(tmp_path / "log") as mine:
        assert mine
    os.close(hold)
    os.close(ready)


def test_of_many_that_want_to_be_alone_one_is_at_a_time(tmp_path):
    inside, most, waited = [], [], []

    def work(_):
        with alone(tmp_path / "lock", lambda: waited.append(1)):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.0005)
            inside.pop()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(80)))
    assert set(most) == {1}
    assert len(most) == 80
    assert waited
    assert names(tmp_path) == []


def test_what_a_killed_process_left_unfinished_is_removed(tmp_path):
    for name in ("config.json", ".config.json.abc.part", "checkpoints/.last.pt.x.part", "checkpoints/last.pt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert names(tmp_path) == ["checkpoints", "config.json"]
    assert names(tmp_path / "checkpoints") == ["last.pt"]


def test_another_thread_may_let_go_of_a_file(tmp_path):
    holding = held(tmp_path / "log.txt")
    assert holding.__enter__()
    with ThreadPoolExecutor() as threads:
        threads.submit(holding.__exit__, None, None, None)
    assert not is_held(tmp_path / "log.txt")


@pytest.fixture
def code(tmp_path, monkeypatch):
    """The folder of a package's source that a test may edit."""
    folder = tmp_path / "comp" / "data"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "images.py").write_text("SIZE = 1\n")
    (folder / "tables.py").write_text("ROWS = 1\n")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    source_digest.cache_clear()
    yield folder
    source_digest.cache_clear()


def digest(*modules):
    source_digest.cache_clear()
    return source_digest(*modules)


def test_a_digest_changes_with_the_source_of_what_it_names_alone(code):
    whole, module = digest("comp.data"), digest("comp.data.images")
    (code / "tables.py").write_text("ROWS = 2\n")
    assert digest("comp.data.images") == module
    assert digest("comp.data") != whole
    whole = digest("comp.data")
    (code / "images.py").rename(code / "pictures.py")
    assert digest("comp.data") != whole
    (code / "deeper").mkdir()
    whole = digest("comp.data")
    (code / "deeper" / "more.py").touch()
    assert digest("comp.data") != whole
    with pytest.raises(ModuleNotFoundError, match="pictured"):
        source_digest("comp.data", "comp.data.pictured")


def test_nothing_that_only_unix_has_is_imported_with_a_module():
    only_unix = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}
    for path in (ROOT / "comp").rglob("*.py"):
        imports = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {name.name for node in imports for name in node.names} | {
            getattr(node, "module", "") for node in imports
        }
        assert not names & only_unix, path


def test_text_is_written_in_utf_8_to_files_of_the_persons_umask(tmp_path):
    before = os.umask(0o002)
    try:
        write_text(tmp_path / "a.txt", "né\n")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o664
    assert (tmp_path / "a.txt").read_bytes() == f"né{os.linesep}".encode()
