import io
import os
import stat
import tarfile
import zipfile
from collections import namedtuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.errors import DataError
from comp.kaggle.archives import extract


def write_zip(path, files):
    path.write_bytes(zipped(files))
    return path


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_zip_and_tar_are_unpacked(tmp_path, mode):
    files = {"labels.csv": b"id\n1\n", "train/1.png": b"one", "train/deep/2.png": b""}
    archive = tmp_path / "all.bin"
    write_zip(archive, files) if mode == "zip" else write_tar(archive, files, mode)
    extract(archive, tmp_path / "data")
    assert tree(tmp_path / "data") == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.bin", "data"]


def test_archives_inside_are_unpacked_in_place_of_themselves(tmp_path):
    inner_tar = write_tar(tmp_path / "inner.tgz", {"test/1.png": b"t"}, "w:gz").read_bytes()
    archive = write_zip(
        tmp_path / "all.zip",
        {
            "train.zip": zipped({"train/a.png": b"a", "train/b.zip": zipped({"b.png": b"b"})}),
            "train_v2.csv.zip": zipped({"train_v2.csv": b"csv"}),
            "loose.zip": zipped({"1.png": b"1", "2.png": b"2"}),
            "sets/test.tar.gz": inner_tar,
            "notes.zip": b"no archive, only called so",
        },
    )
    extract(archive, tmp_path / "data")
    assert tree(tmp_path / "data") == {
        "train/a.png": b"a",
        "train/b.png": b"b",
        "train_v2.csv": b"csv",
        "loose/1.png": b"1",
        "loose/2.png": b"2",
        "sets/test/1.png": b"t",
        "notes.zip": b"no archive, only called so",
    }


def test_two_inner_archives_with_the_same_folder_do_not_mix(tmp_path):
    parts = {f"{name}.zip": zipped({"images/1.png": name.encode()}) for name in ("test", "train")}
    extract(write_zip(tmp_path / "all.zip", parts), tmp_path / "data")
    assert tree(tmp_path / "data") == {"images/1.png": b"test", "train/images/1.png": b"train"}


def test_zip_files_by_content_but_not_by_name_are_data(tmp_path):
    model = zipped({"weights": b"w"})
    extract(write_zip(tmp_path / "all.zip", {"model.npz": model}), tmp_path / "data")
    assert tree(tmp_path / "data") == {"model.npz": model}


def test_a_file_alone_in_a_folder_of_its_name_takes_the_folders_place(tmp_path):
    files = {"train_v2.csv/train_v2.csv": b"csv", "train/train": b"1", "train/other": b"2", "planet/planet/1.jpg": b"j"}
    extract(write_zip(tmp_path / "all.zip", files), tmp_path / "data")
    assert tree(tmp_path / "data") == {"train_v2.csv": b"csv", **{k: v for k, v in files.items() if k[:6] != "train_"}}


def test_a_file_that_is_no_archive_is_taken_as_it_is(tmp_path):
    (tmp_path / "train.csv").write_text("id\n")
    extract(tmp_path / "train.csv", tmp_path / "data")
    assert tree(tmp_path / "data") == {"train.csv": b"id\n"}


def test_unpacking_again_replaces_and_leaves_the_rest(tmp_path):
    data = tmp_path / "data"
    extract(write_zip(tmp_path / "1.zip", {"a/1": b"old", "b": b"b", "c/c1": b"c"}), data)
    extract(write_zip(tmp_path / "2.zip", {"a/1": b"new", "a/2": b"2", "b/b1": b"b", "c": b"c"}), data)
    assert tree(data) == {"a/1": b"new", "a/2": b"2", "b/b1": b"b", "c": b"c"}


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "..", "..\\evil", "C:\\evil", "C:evil", "\\evil", "a/..\\..\\evil"]
)
def test_names_that_lead_out_of_the_folder_are_refused_in_zip_and_tar(tmp_path, name):
    (tmp_path / "in").mkdir()
    for archive in (
        write_zip(tmp_path / "a.zip", {"good": b"g", name: b"evil"}),
        write_tar(tmp_path / "a.tar", {"good": b"g", name: b"evil"}),
        write_zip(tmp_path / "b.zip", {"good": b"g", "inner.zip": zipped({name: b"evil"})}),
    ):
        with pytest.raises(DataError, match="nothing was unpacked"):
            extract(archive, tmp_path / "in" / "data")
    assert list((tmp_path / "in").iterdir()) == []


def test_links_and_devices_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archives = []
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    archives.append(tmp_path / "a.zip")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        path = tmp_path / f"{kind.decode()}.tar"
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "good"
            tar.addfile(tarfile.TarInfo("good"))
            tar.addfile(info)
        archives.append(path)
    for path in archives:
        with pytest.raises(DataError, match="link"):
            extract(path, tmp_path / "data")
    assert not (tmp_path / "data").exists()


PARTS = st.sampled_from(["..", ".", "", "a", "b", "~", "C:", "con", "é", "\\", " ", "a" * 300, "x.zip", "-", "\x01"])


@settings(deadline=None)
@given(names=st.lists(st.lists(PARTS, min_size=1, max_size=5).map("/".join), min_size=1, max_size=4, unique=True))
def test_whatever_the_names_nothing_leaves_the_folder(tmp_path_factory, names):
    base = tmp_path_factory.mktemp("any")
    for number, write in enumerate((write_zip, write_tar)):
        inside = base / str(number)
        inside.mkdir()
        archive = base / f"{number}.bin"
        try:
            write(archive, dict.fromkeys(names, b"x"))
        except (ValueError, IndexError):  # names that can't be written into an archive
            continue
        try:
            extract(archive, inside / "data")
        except DataError:
            assert not (inside / "data").exists()
        assert {path.name for path in inside.iterdir()} <= {"data"}
    assert {path.name for path in base.iterdir()} <= {"0", "1", "0.bin", "1.bin"}


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz"])
def test_a_damaged_archive_changes_nothing(tmp_path, mode):
    files = {"a.bin": os.urandom(50_000), "b.bin": os.urandom(50_000)}
    archive = tmp_path / "all.bin"
    write_zip(archive, files) if mode == "zip" else write_tar(archive, files, mode)
    whole = archive.read_bytes()
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.bin").write_bytes(b"before")
    spoiled = (
        whole[: len(whole) // 2] + bytes(1000) + whole[len(whole) // 2 + 1000 :] if mode == "zip" else whole[:70_000]
    )
    archive.write_bytes(spoiled)
    with pytest.raises(DataError, match=r"all\.bin"):
        extract(archive, data)
    assert tree(data) == {"a.bin": b"before"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.bin", "data"]


def test_archives_without_end_are_given_up(tmp_path):
    content = b"x"
    for _ in range(8):
        content = zipped({"again.zip": content})
    (tmp_path / "all.zip").write_bytes(content)
    with pytest.raises(DataError, match="archives deep"):
        extract(tmp_path / "all.zip", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_too_little_room_is_noticed_before_anything_is_unpacked(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("comp.kaggle.archives.shutil.disk_usage", lambda path: usage(10**9, 0, 10**6))
    with pytest.raises(DataError, match=r"10\.00 MB .* 1\.00 MB free"):
        extract(write_zip(tmp_path / "bomb.zip", {"zeros": bytes(10**7)}), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_what_an_earlier_unpacking_left_half_done_is_cleared(tmp_path):
    (tmp_path / ".data.partial").mkdir()
    (tmp_path / ".data.partial" / "stale").touch()
    extract(write_zip(tmp_path / "a.zip", {"a": b"a"}), tmp_path / "data")
    assert tree(tmp_path / "data") == {"a": b"a"}
    assert not (tmp_path / ".data.partial").exists()
