import os

from comp.local_kaggle.catalog import Catalog

SLUG = "two-digits"


def test_folders_are_entries_and_hidden_names_are_not(served):
    (served / "a file").touch()
    (served / ".hidden").mkdir()
    with Catalog(served) as catalog:
        assert catalog.slugs() == ["more-digits", SLUG]
        assert not any(catalog.has(slug) for slug in (".answers", ".hidden", "a file", "", ".", "..", "../served"))
        assert [file.name for file in catalog.files(SLUG)] == [
            "notes/read me.txt",
            "sample_submission.csv",
            "train.zip",
        ]


def test_a_folder_that_is_one_archive_is_served_as_it_is(served):
    with Catalog(served) as catalog:
        assert catalog.archive("more-digits") == served / "more-digits" / "more-digits.zip"
        assert catalog.file("more-digits", "labels.csv").read_text() == "id,label\n2,c\n"
        assert catalog.file("more-digits", "more-digits.zip") is None


def test_an_archive_is_made_once_and_the_same_after_a_restart(served):
    with Catalog(served) as catalog:
        first = catalog.archive(SLUG)
        assert catalog.archive(SLUG) == first
        content, when = first.read_bytes(), first.stat().st_mtime_ns
    assert not first.exists()
    with Catalog(served) as catalog:
        again = catalog.archive(SLUG)
        assert (again.read_bytes(), again.stat().st_mtime_ns) == (content, when)
        os.utime(served / SLUG / "train.zip", ns=(1, when + 10**9))
        assert catalog.archive(SLUG) != again


def test_a_directory_that_cannot_be_written_is_served(served):
    before = sorted(served.rglob("*"))
    with Catalog(served) as catalog:
        assert not catalog.archive(SLUG).is_relative_to(served)
        assert not catalog.file("more-digits", "labels.csv").is_relative_to(served)
    assert sorted(served.rglob("*")) == before


def test_links_to_the_answers_are_not_served(served):
    (served / SLUG / "cheat.csv").symlink_to(served / ".answers" / f"{SLUG}.csv")
    (served / "cheat").symlink_to(served / ".answers")
    with Catalog(served) as catalog:
        assert "cheat.csv" not in [file.name for file in catalog.files(SLUG)]
        assert not catalog.has("cheat")
