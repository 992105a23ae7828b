import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comp.errors import DataError
from comp.kaggle.archives import extract, link
from comp.kaggle.client import connect
from comp.kaggle.fetch import fetch
from comp.kaggle.sources import mount_of
from tests.kaggle.conftest import contents, never, zipped

SLUG = "two-digits"
DATASET = "someone/more-digits"
FILES = {
    "train/0.a.png": b"zero",
    "train.csv": b"id\n0\n",
    "deep/er/1.png": b"one",
    "table.csv/table.csv": b"lifted",
    "deep/packed.zip": {"packed/2.png": b"two"},
    "test.zip": {"test/3.png": b"three", "test/inner.zip": {"4.png": b"four"}},
}


def lay_out(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(zipped(content) if isinstance(content, dict) else content)
    return folder


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """The folder of a Kaggle notebook's data sources."""
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Batch")
    monkeypatch.setenv("KAGGLE_CACHE_MOUNT_FOLDER", str(tmp_path / "input"))
    return tmp_path / "input"


@pytest.mark.parametrize("place", [SLUG, f"competitions/{SLUG}", "more-digits", f"datasets/{DATASET}"])
def test_what_is_mounted_is_found_in_every_place_that_kaggle_has_for_it(inputs, place):
    source = SLUG if SLUG in place else DATASET
    (inputs / place).mkdir(parents=True)
    assert mount_of(source) is None
    (inputs / place / "a.csv").touch()
    assert mount_of(source) == inputs / place


def test_nothing_is_mounted_elsewhere_than_in_a_notebook_nor_for_another_kaggle(inputs, monkeypatch):
    lay_out(inputs / SLUG, FILES)
    with monkeypatch.context() as patch:
        patch.setenv("COMP_KAGGLE_URL", "http://127.0.0.1:9")
        assert mount_of(SLUG) is None
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE")
    assert mount_of(SLUG) is None
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    monkeypatch.setenv("COLAB_CACHE_MOUNT_FOLDER", str(inputs))
    assert mount_of(SLUG) == inputs / SLUG


def test_in_colab_what_kagglehub_downloaded_whole_is_found_the_latest_version_first(tmp_path, monkeypatch):
    cache = tmp_path / "kagglehub"
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(cache))
    lay_out(
        cache, {f"competitions/{SLUG}/a.csv": b"", **{f"datasets/{DATASET}/versions/{n}/a": b"" for n in (2, 9, 10)}}
    )
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release")
    assert mount_of(SLUG) is None
    lay_out(cache, {f"competitions/{SLUG}.complete": b"", f"datasets/{DATASET}/2.complete": b""})
    assert mount_of(SLUG) == cache / "competitions" / SLUG
    assert mount_of(DATASET) == cache / "datasets" / DATASET / "versions" / "2"
    lay_out(cache, {f"datasets/{DATASET}/9.complete": b"", f"datasets/{DATASET}/odd.complete": b""})
    assert mount_of(DATASET) == cache / "datasets" / DATASET / "versions" / "9"


def test_a_mounted_competition_and_data_set_lie_as_they_would_downloaded_and_nobody_is_connected_to(inputs, tmp_path):
    lay_out(inputs / "competitions" / SLUG, FILES)
    more = {"train/5.b.png": b"five", "train.csv": b"id\n5\n", "deep/er/6.png": b"six", "new/7.png": b"seven"}
    lay_out(inputs / "datasets" / DATASET, more)
    before = contents(inputs)
    lines = []
    fetch(never, [SLUG, DATASET], tmp_path / "linked", say=lines.append, mount_of=mount_of)
    mounts = (inputs / "competitions" / SLUG, inputs / "datasets" / DATASET)
    assert [line.split(";")[0].rpartition(" ")[2] for line in lines] == list(map(str, mounts))
    assert not (tmp_path / "linked" / ".archives").exists()
    for name, files in (("a.zip", FILES), ("b.zip", more)):
        (tmp_path / name).write_bytes(zipped(files))
        extract(tmp_path / name, tmp_path / "downloaded")
    assert contents(tmp_path / "linked") == contents(tmp_path / "downloaded")
    assert contents(inputs) == before
    assert (tmp_path / "linked" / "new").is_symlink()
    fetch(never, [SLUG, DATASET], tmp_path / "linked")


def test_what_is_not_mounted_is_downloaded_into_the_same_folder_and_nothing_mounted_is_written_to(
    url, served, inputs, tmp_path
):
    lay_out(inputs / "more-digits", {"train/0.a.png": b"another", "labels.csv": b"mounted"})
    lay_out(inputs / SLUG, {"train/0.a.png": b"mounted", "more/9.png": b"nine"})
    before = contents(inputs)

    def only(source):
        return {DATASET: inputs / "more-digits"}.get(source)

    fetch(connect, [SLUG, DATASET], tmp_path / "a", mount_of=only)
    found = contents(tmp_path / "a")
    assert (found["train/0.a.png"], found["train/1.b.png"], found["labels.csv"]) == (b"another", b"one", b"mounted")

    fetch(connect, [SLUG, DATASET], tmp_path / "b", mount_of=lambda source: inputs / SLUG if source == SLUG else None)
    found = contents(tmp_path / "b")
    assert (found["train/0.a.png"], found["more/2.png"], found["more/9.png"]) == (b"mounted", b"two", b"nine")
    assert contents(inputs) == before


def test_links_to_a_mount_that_is_gone_are_noticed_and_its_files_downloaded(url, inputs, tmp_path):
    lay_out(inputs / SLUG, {"train/0.a.png": b"mounted", "notes/9.txt": b"nine", "a.csv": b""})
    fetch(never, [SLUG], tmp_path / "data", mount_of=lambda _: inputs / SLUG)
    (inputs / SLUG).rename(inputs / "elsewhere")
    lines = []
    fetch(connect, [SLUG], tmp_path / "data", say=lines.append)
    assert lines[0].startswith("3 of 3 files")
    fetch(never, [SLUG], tmp_path / "data")
    (tmp_path / "data" / "a.csv").unlink()  # only the mount had it
    found = contents(tmp_path / "data")
    assert (found["train/0.a.png"], found["notes/read me.txt"]) == (b"zero", b"hello")


def test_a_mount_whose_archive_is_damaged_is_one_sentence_and_leaves_nothing(inputs, tmp_path):
    lay_out(inputs / SLUG, {"a.csv": b"a", "test.zip": b"PK\x03\x04 and nothing else"})
    with pytest.raises(DataError, match=r"test\.zip"):
        fetch(never, [SLUG], tmp_path / "data", mount_of=mount_of)
    assert contents(tmp_path / "data") == {}
    assert not (tmp_path / ".data.partial").exists()


names = st.sampled_from(["a", "b", "a.csv", "b.zip", "c.tar"])
trees = st.recursive(
    st.binary(max_size=3), lambda inside: st.dictionaries(names, inside, max_size=3), max_leaves=6
).filter(lambda tree: isinstance(tree, dict))


def archived(tree):
    """Files as `zipped` takes them, with inner archives as dictionaries."""
    flat = {}
    for name, content in tree.items():
        if isinstance(content, dict) and not name.endswith(".zip"):
            flat |= {f"{name}/{inner}": value for inner, value in archived(content).items()}
        else:
            flat[name] = archived(content) if isinstance(content, dict) else content
    return flat


@settings(max_examples=25, deadline=None)
@given(first=trees, second=trees)
def test_links_show_what_unpacking_would_leave_and_nothing_linked_is_changed(tmp_path_factory, first, second):
    place = tmp_path_factory.mktemp("trees")
    for number, tree in enumerate((first, second)):
        lay_out(place / "mounts" / str(number), archived(tree))
        (place / "mounts" / str(number)).mkdir(parents=True, exist_ok=True)
        (place / f"{number}.zip").write_bytes(zipped(archived(tree)))
    before = contents(place / "mounts")

    def outcome(folder, bring):
        try:
            for number in range(2):
                bring(number, folder)
        except DataError as error:
            return type(error)
        return contents(folder)

    unpacked = outcome(place / "unpacked", lambda number, folder: extract(place / f"{number}.zip", folder))
    linked = outcome(place / "linked", lambda number, folder: link(place / "mounts" / str(number), folder))
    assert linked == unpacked
    assert contents(place / "mounts") == before
    shutil.rmtree(place)
