"""Hostile, damaged and too large archives, unpacked onto a real disk."""

import multiprocessing
import random
import re
import shutil
import stat
import tarfile
import zipfile
from types import SimpleNamespace

import py7zr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.errors import DataError
from comp.kaggle.archives import extract
from tests.kaggle.conftest import contents, tarred

NOISE = random.Random(0).randbytes(60_000)
FILES = {"labels.csv": b"id\n1\n", "train/1.png": NOISE, "train/deep/2.png": b"", "more": NOISE[:1000]}
KINDS = ("zip", "tar", "tar.gz", "7z")
COMPRESSED = {"tar": "w", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def packed(kind, files, folder):
    """An archive of this kind in ``folder``, with the names as given."""
    path = folder / f"all.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files:
                archive.writestr(zipfile.ZipInfo(name), content)
    elif kind == "7z":
        with py7zr.SevenZipFile(path, "w") as archive:
            for name, content in files:
                archive._writestr(content, name)  # the public method refuses hostile names
    else:
        path.write_bytes(tarred(files, COMPRESSED[kind]))
    return path


@pytest.fixture
def place(tmp_path):
    """The folder in which only `data` may appear."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@pytest.fixture
def refused(place):
    """Unpacks an archive that must be refused; returns the error, and asserts that earlier data are unchanged."""

    def call(archive):
        data = place / "data"
        data.mkdir(exist_ok=True)
        (data / "labels.csv").write_bytes(b"before")
        with pytest.raises(DataError) as caught:
            extract(archive, data)
        assert contents(place) == {"data/labels.csv": b"before"}
        assert sorted(path.name for path in place.iterdir()) == ["data"]
        told = str(caught.value)
        assert told.endswith(".")
        assert "\n" not in told
        return told

    return call


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_unpacked_whole_also_from_inside_another(tmp_path, place, kind):
    inner = packed(kind, FILES.items(), tmp_path)
    for outer in KINDS:
        archive = packed(outer, [(f"inner.{kind}", inner.read_bytes()), ("beside", b"b")], place)
        extract(archive, place / outer)
        assert contents(place / outer) == {
            "beside": b"b",
            **{f"inner/{name}": content for name, content in FILES.items()},
        }


@pytest.mark.parametrize("kind", KINDS)
def test_no_path_leaves_the_folder(tmp_path, refused, kind):
    windows = ("..\\evil", "\\evil", "a/..\\..\\evil", "C:\\evil", "C:evil")
    for name in ("../evil", "a/../../evil", "/evil", "..", *windows):
        archive = packed(kind, [("good", b"g"), (name, b"evil")], tmp_path)
        assert "nothing was unpacked" in refused(archive), name
    outer = packed("zip", [("good", b"g"), (f"inner.{kind}", archive.read_bytes())], tmp_path)
    assert "nothing was unpacked" in refused(outer)


def links(tmp_path):
    zipped = tmp_path / "link.zip"
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr(info, "/etc")
        archive.writestr("link/passwd", b"evil")
    yield zipped
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        path = tmp_path / f"{kind.decode()}.tar"
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, "/etc"
            tar.addfile(info)
        yield path
    (tmp_path / "link").symlink_to("/etc")
    seven = tmp_path / "link.7z"
    with py7zr.SevenZipFile(seven, "w") as archive:
        archive.write(tmp_path / "link", "link")
    yield seven


def test_links_and_devices_are_refused(tmp_path, refused):
    for archive in links(tmp_path):
        told = refused(archive)
        assert "is a link" in told, archive
        assert "--data DIR" in told, archive


def test_names_that_comp_keeps_for_itself_are_refused(tmp_path, place):
    archive = packed("zip", [(".complete.json", b"{}")], tmp_path)
    with pytest.raises(DataError, match="a name that comp keeps for itself"):
        extract(archive, place / "data", reserved=[".complete.json"])
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_larger_than_the_disk_is_noticed_before_a_byte_is_written(tmp_path, refused, monkeypatch, kind):
    bomb = packed(kind, [("a", b"a"), ("zeros", bytes(3_000_000))], tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    assert re.search(r"unpacks to .*3\.00 MB and .* 1\.00 MB free; make room and run the same", refused(bomb))


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fills_up_meanwhile_is_one_sentence_and_leaves_nothing(
    tmp_path, place, disk, refused, kind, monkeypatch
):
    archive = packed(kind, [("a", b"a"), ("noise", NOISE * 10)], tmp_path)
    monkeypatch.setattr("comp.kaggle.archives.must_fit", lambda *_: None)  # as if another program took the room
    disk(place, size=300_000)
    assert re.search("can't be unpacked into .*: No space left on device; mend that", refused(archive))


def test_a_folder_that_can_t_be_written_is_one_sentence(tmp_path, place, disk):
    archive = packed("zip", FILES.items(), tmp_path)
    disk(place, size=300_000)("ro")
    with pytest.raises(DataError, match="Read-only file system; mend that and run the same command again"):
        extract(archive, place / "data")
    assert list(place.iterdir()) == []


def test_a_size_that_is_announced_smaller_than_it_is_gets_no_more_room(tmp_path, refused):
    archive = packed("zip", [("zeros", bytes(1_000_000))], tmp_path)
    with zipfile.ZipFile(archive) as source:
        (member,) = source.infolist()
    real, lie = (1_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(real, lie))
    assert member.file_size == 1_000_000
    assert "is damaged" in refused(archive)


def test_a_tower_of_archives_is_given_up(tmp_path, refused):
    archive = packed("zip", [("0", b"0")], tmp_path)
    for _ in range(8):
        archive = packed("zip", [("again.zip", archive.read_bytes())], tmp_path)
    assert "archives deep" in refused(archive)


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_archive_is_refused_wherever_it_was_cut(tmp_path, refused, kind):
    archive = packed(kind, FILES.items(), tmp_path)
    whole = archive.read_bytes()
    # A tar ends in zeros, which may be cut off.
    end = len(whole) - (9000 if kind == "tar" else 1)
    cuts = [1000, 1024, len(whole) // 2, end]
    for cut in cuts:
        archive.write_bytes(whole[:cut])
        assert "is damaged" in refused(archive), cut


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "7z"])
def test_a_flipped_bit_is_noticed_by_the_checksum(tmp_path, refused, kind):
    archive = packed(kind, FILES.items(), tmp_path)
    spoilt = bytearray(archive.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    archive.write_bytes(spoilt)
    assert "is damaged" in refused(archive)


def test_a_damaged_header_or_directory_is_noticed_also_inside_another_archive(tmp_path, refused):
    tar, zipped = (packed(kind, [(name, name.encode() * 512) for name in "abc"], tmp_path) for kind in ("tar", "zip"))
    spoilt = bytearray(tar.read_bytes())
    spoilt[1024 + 150] ^= 1  # the second header's checksum, which must not be taken for the end
    tar.write_bytes(spoilt)
    assert "ends without an end mark" in refused(tar)
    spoilt = bytearray(zipped.read_bytes())
    second = spoilt.index(b"PK\1\2", spoilt.index(b"PK\1\2") + 1)
    spoilt[second + 33] ^= 1  # its comment's length, up to the end of the directory
    zipped.write_bytes(spoilt)
    assert "its directory lists 2 of 3 files" in refused(zipped)
    inner = zipped.read_bytes()
    assert "inner.zip is damaged" in refused(packed("tar", [("inner.zip", inner), ("a", b"a")], tmp_path))


def test_a_zip_in_the_form_for_very_many_files_is_unpacked(tmp_path, place, monkeypatch):
    monkeypatch.setattr("zipfile.ZIP_FILECOUNT_LIMIT", 1)
    archive = packed("zip", FILES.items(), tmp_path)
    content = bytearray(archive.read_bytes())
    end = content.rindex(b"PK\5\6")
    content[end + 8 : end + 12] = b"\xff" * 4  # the number is in the previous record
    archive.write_bytes(content)
    assert b"PK\6\6" in content
    assert extract(archive, place / "data") == []
    assert contents(place / "data") == FILES


def test_a_tar_that_ends_with_a_zip_is_a_tar(tmp_path, place):
    inner = packed("zip", [("x", b"x"), ("y", b"y")], tmp_path).read_bytes()
    extract(packed("tar", [("first", b"1"), ("last.zip", inner)], tmp_path), place / "data")
    assert contents(place / "data") == {"first": b"1", "last/x": b"x", "last/y": b"y"}


def test_an_archive_with_a_password_is_one_sentence(tmp_path, refused):
    archive = tmp_path / "secret.7z"
    with py7zr.SevenZipFile(archive, "w", password="secret") as out:
        out.writestr(b"x", "x")
    assert "password" in refused(archive)


def test_a_file_that_is_in_an_archive_twice_is_said_to_be(tmp_path, place, refused):
    assert "more than once" in refused(packed("7z", [("1.png", b"old"), ("1.png", b"new")], tmp_path))
    for kind in ("zip", "tar"):
        notes = extract(packed(kind, [("a/1.png", b"old"), ("./a/1.png", b"new")], tmp_path), place / kind)
        assert notes == [f"all.{kind} holds 1 file more than once, like 1.png; the last one was taken"]
        assert contents(place / kind) == {"a/1.png": b"new"}


def test_windows_slashes_are_folders_and_a_folder_has_no_content(tmp_path, place, refused):
    assert "is a folder with content" in refused(packed("zip", [("a/", b"content")], tmp_path))
    extract(packed("zip", [("train\\1.png", b"1")], tmp_path), place / "slashes")
    assert contents(place / "slashes") == {"train/1.png": b"1"}


def test_a_killed_extraction_leaves_the_folder_as_it_was_and_can_be_repeated(tmp_path, place, until):
    many = {f"train/{number:04}.png": NOISE[:2000] for number in range(1000)}
    archive, data = packed("zip", many.items(), tmp_path), place / "data"
    data.mkdir()
    (data / "labels.csv").write_bytes(b"before")
    process = multiprocessing.get_context("fork").Process(target=extract, args=(archive, data))
    process.start()
    staging = place / ".data.partial" / "train"
    until(lambda: staging.is_dir() and len(list(staging.iterdir())) > 50)
    process.kill()
    process.join()
    assert process.exitcode == -9
    assert contents(data) == {"labels.csv": b"before"}
    extract(archive, data)
    assert contents(data) == {"labels.csv": b"before", **many}
    assert sorted(path.name for path in place.iterdir()) == ["data"]


PARTS = st.sampled_from(["a", "b", "c.d", "é", "..", ".", "", "~", "C:", "\\", " ", "x.zip", "-", "\x01", "a" * 300])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
MEMBERS = st.lists(st.tuples(NAMES, st.binary(max_size=40)), min_size=1, max_size=6)
SPOILING = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "insert"]), st.floats(0, 1), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)


def unpacked_or_refused(archive, base):
    """The notes of an extraction and the extracted contents; None if it was refused in one sentence.

    Asserts that a refusal leaves nothing, and that nothing appears elsewhere.
    """
    place = base / "place"
    place.mkdir()
    told = ""
    try:
        notes = extract(archive, place / "data")
    except DataError as error:
        told = str(error)
    if told:
        assert "\n" not in told
        assert list(place.iterdir()) == []
        return None
    assert [path.name for path in place.iterdir()] == ["data"]
    assert sorted(path.name for path in base.iterdir()) == sorted([archive.name, "place"])
    return notes, set(contents(place).values())


@pytest.mark.parametrize("examples", [30, pytest.param(1000, marks=pytest.mark.full)])
def test_whatever_an_archive_holds_nothing_leaves_the_folder_or_is_lost_silently(tmp_path_factory, examples):
    """Either every member is in the folder with its last content, or none is, with a reason."""

    @settings(max_examples=examples, derandomize=examples == 30, deadline=None)
    @given(kind=st.sampled_from(KINDS), members=MEMBERS)
    def check(kind, members):
        base = tmp_path_factory.mktemp("any")
        try:
            archive = packed(kind, members, base)
        except Exception:  # such an archive can't have these names
            return
        unpacked = unpacked_or_refused(archive, base)
        if unpacked is not None:
            folders = ("/", "\\") if kind == "zip" else ("/",)
            written = {name: content for name, content in members if content or not name.endswith(folders)}
            notes, found = unpacked
            assert notes or set(written.values()) <= found

    check()


def spoilt_bytes(whole, spoiling):
    for what, where, junk in spoiling:
        at = int(where * len(whole))
        cut, then = {"cut": (16 * len(junk), b""), "insert": (0, junk)}.get(what, (len(junk), None))
        if then is None:
            then = bytes(byte ^ mask for byte, mask in zip(whole[at:], junk, strict=False))
        whole = whole[:at] + then + whole[at + cut :]
    return whole


@pytest.mark.parametrize("examples", [60, pytest.param(2000, marks=pytest.mark.full)])
def test_a_spoilt_archive_is_never_a_traceback(tmp_path_factory, examples):
    files = {"labels.csv": b"id\n1\n", "train/1.png": NOISE[:700], "train/2.png": NOISE[700:900]}

    @settings(max_examples=examples, derandomize=examples == 60, deadline=None)
    @given(kind=st.sampled_from(KINDS), spoiling=SPOILING)
    def check(kind, spoiling):
        base = tmp_path_factory.mktemp("any")
        archive = packed(kind, files.items(), base)
        archive.write_bytes(spoilt_bytes(archive.read_bytes(), spoiling))
        unpacked = unpacked_or_refused(archive, base)
        if unpacked is not None and kind != "tar":  # a tar has no checksums of its files
            assert set(files.values()) <= unpacked[1] or unpacked[1] == {archive.read_bytes()}

    check()
