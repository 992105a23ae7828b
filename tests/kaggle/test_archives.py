"""Where an archive's files are put; hostile and damaged archives are in tests/reliability/test_extraction.py."""

import io
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from inflate64 import Deflater

from comp.errors import DataError
from comp.kaggle.archives import DamagedError, LockedError, extract, link
from tests.kaggle.conftest import contents, tarred, zipped


@pytest.fixture
def unpacked(tmp_path):
    """Unpacks files from a zip, or an archive's bytes, into one folder; what then lies in it."""

    def call(content, name="all.zip"):
        (tmp_path / name).write_bytes(zipped(content) if isinstance(content, dict) else content)
        extract(tmp_path / name, tmp_path / "data")
        return contents(tmp_path / "data")

    return call


@pytest.mark.parametrize("mode", ["w:bz2", "w:xz"])
def test_tar_is_unpacked_whatever_compresses_it(unpacked, tmp_path, mode):
    files = {"labels.csv": b"id\n1\n", "train/1.png": b"one", "train/deep/2.png": b""}
    assert unpacked(tarred(files.items(), mode), "all.bin") == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.bin", "data"]


def test_archives_inside_are_unpacked_in_place_of_themselves(unpacked):
    files = {
        "train.zip": {"train/a.png": b"a", "train/b.zip": {"b.png": b"b"}},
        "train_v2.csv.zip": {"train_v2.csv": b"csv"},
        "loose.zip": {"1.png": b"1", "2.png": b"2"},
        "sets/test.tar.gz": tarred([("test/1.png", b"t")], "w:gz"),
        "sets/more.tar.bz2": tarred([("more/1.png", b"m")], "w:bz2"),
        "sets/all.TXZ": tarred([("all/1.png", b"x"), ("2.png", b"y")], "w:xz"),
        "notes.zip": b"no archive, only called so",
    }
    assert unpacked(files) == {
        "train/a.png": b"a",
        "train/b.png": b"b",
        "train_v2.csv": b"csv",
        "loose/1.png": b"1",
        "loose/2.png": b"2",
        "sets/test/1.png": b"t",
        "sets/more/1.png": b"m",
        "sets/all/all/1.png": b"x",
        "sets/all/2.png": b"y",
        "notes.zip": b"no archive, only called so",
    }


def test_two_inner_archives_with_the_same_folder_do_not_mix(unpacked):
    parts = {f"{name}.zip": {"images/1.png": name.encode()} for name in ("test", "train")}
    assert unpacked(parts) == {"images/1.png": b"test", "train/images/1.png": b"train"}


def test_zip_files_by_content_but_not_by_name_are_data(unpacked):
    model = {"model.npz": zipped({"weights": b"w"})}
    assert unpacked(model) == model
    assert unpacked(b"id\n", "train.csv") == {**model, "train.csv": b"id\n"}


def test_a_file_alone_in_a_folder_of_its_name_takes_the_folders_place(unpacked):
    others = {"train/train": b"1", "train/other": b"2", "planet/planet/1.jpg": b"j"}
    assert unpacked({"train_v2.csv/train_v2.csv": b"csv", **others}) == {"train_v2.csv": b"csv", **others}


def test_unpacking_again_replaces_and_leaves_the_rest(unpacked, tmp_path):
    (tmp_path / ".data.partial").mkdir()
    (tmp_path / ".data.partial" / "stale").touch()  # as left by a killed process
    unpacked({"a/1": b"old", "b": b"b", "c/c1": b"c"})
    assert unpacked({"a/1": b"new", "a/2": b"2", "b/b1": b"b", "c": b"c"}) == {
        "a/1": b"new",
        "a/2": b"2",
        "b/b1": b"b",
        "c": b"c",
    }
    assert not (tmp_path / ".data.partial").exists()


def flagged(archive, flags):
    """A zip with a single member, whose flags are replaced by ``flags``."""
    changed, central = bytearray(archive), archive.rindex(b"PK\x01\x02")
    changed[6:8] = changed[central + 8 : central + 10] = flags.to_bytes(2, "little")
    return bytes(changed)


def test_names_without_the_utf8_mark_are_utf8_where_they_decode_and_cp437_elsewhere(unpacked):
    # Without its UTF-8 mark, the first name is still UTF-8; the second is cp437.
    assert unpacked(flagged(zipped({"L\u00f6we/1.png": b"1"}), 0)) == {"L\u00f6we/1.png": b"1"}
    assert "caf\u00e9.png" in unpacked(zipped({"cafX.png": b"2"}).replace(b"cafX", b"caf\x82"))


def test_a_hard_link_in_a_tar_is_the_file_again(unpacked):
    buffer = io.BytesIO(tarred([("a.png", b"one")]))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        link = tarfile.TarInfo("b.png")
        link.type, link.linkname = tarfile.LNKTYPE, "a.png"
        archive.addfile(link)
    assert unpacked(buffer.getvalue(), "all.tar") == {"a.png": b"one", "b.png": b"one"}


def test_an_inner_archive_with_a_password_is_said_and_left_as_it_is(tmp_path):
    inner = flagged(zipped({"a.png": b"a"}), 1)
    (tmp_path / "all.zip").write_bytes(zipped({"secret.zip": inner, "b.png": b"b"}))
    notes = extract(tmp_path / "all.zip", tmp_path / "data")
    assert contents(tmp_path / "data") == {"secret.zip": inner, "b.png": b"b"}
    assert any("secret.zip" in note and "password" in note for note in notes)
    (tmp_path / "secret.zip").write_bytes(inner)
    with pytest.raises(LockedError, match=r"secret\.zip"):
        extract(tmp_path / "secret.zip", tmp_path / "more")


def test_a_method_that_cannot_be_read_is_not_answered_with_another_download(unpacked):
    archive = bytearray(zipped({"a.png": b"a"}))
    central = archive.rindex(b"PK\x01\x02")
    archive[8] = archive[central + 10] = 98  # PPMd
    with pytest.raises(DataError, match="7-Zip") as caught:
        unpacked(bytes(archive))
    assert not isinstance(caught.value, DamagedError)


def test_numbered_parts_are_put_together_and_a_missing_one_is_named(unpacked):
    whole = zipped({"train/a.png": b"a" * 999})
    thirds = {f"train.zip.{number + 1:03}": whole[number * 60 : (number + 1) * 60] for number in range(2)}
    thirds["train.zip.003"] = whole[120:]
    assert unpacked(thirds) == {"train/a.png": b"a" * 999}
    with pytest.raises(DataError, match=r"train\.zip\.002"):
        unpacked({name: part for name, part in thirds.items() if name != "train.zip.002"})
    with pytest.raises(DataError, match=r"train\.zip spans .*zip -s 0"):
        unpacked({"train.z01": whole[:60], "train.zip": whole[60:]})


def by_deflate64(name, content, checksum=0):
    """A zip with one member, packed as Windows' Explorer packs large files."""
    deflater = Deflater()
    packed = deflater.deflate(content) + deflater.flush()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, packed)
        (member,) = archive.infolist()
        member.compress_type, member.file_size, member.CRC = 9, len(content), checksum or zlib.crc32(content)
    return buffer.getvalue()


def test_deflate64_is_read_and_its_checksum_held_against_it(unpacked, tmp_path):
    content = bytes(np.random.default_rng(0).integers(0, 9, 300_000, np.uint8))
    assert unpacked(by_deflate64("train/a.bin", content)) == {"train/a.bin": content}
    with pytest.raises(DamagedError, match="checksum"):
        unpacked(by_deflate64("train/a.bin", content, checksum=7))


def test_a_loop_of_links_beside_what_is_mounted_ends(tmp_path):
    (tmp_path / "mount" / "train").mkdir(parents=True)
    (tmp_path / "mount" / "train" / "a.png").touch()
    (tmp_path / "mount" / "again").symlink_to(tmp_path / "mount")
    (tmp_path / "mount" / "test.zip").write_bytes(zipped({"b.png": b"b"}))
    link(tmp_path / "mount", tmp_path / "data")
    assert (tmp_path / "data" / "test" / "b.png").is_file() or (tmp_path / "data" / "b.png").is_file()
