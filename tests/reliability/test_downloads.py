"""Downloads with faults: `comp download` against a local Kaggle with planned faults."""

import os
import random
import shutil
import signal
import time

import pytest

from tests.faults import Fault

BLOBS = "archives/blobs.zip"
SIZE = 1_000_114  # bytes of that archive
ENDS_IN_THREE = 400_000  # bytes before a connection ends, so that three connections suffice if the second resumes
FEW_CUTS = [0, 65_536, SIZE - 1]
MANY_CUTS = sorted(random.Random(1).sample(range(SIZE), 60))


@pytest.fixture
def no_digests(monkeypatch):
    """The server sends no MD5, as Kaggle's storage for files composed of parts."""
    monkeypatch.setattr("comp.local_kaggle.catalog._LARGEST_DIGESTED_BYTES", -1)


@pytest.mark.parametrize("cut", [*FEW_CUTS, *(pytest.param(cut, marks=pytest.mark.full) for cut in MANY_CUTS)])
def test_a_connection_that_drops_is_resumed(fetching, intact, cut):
    ended = fetching(Fault(BLOBS, "drop", after_bytes=cut))
    assert ended.status == 0
    assert "dropped" in ended.out or "Nothing answers" in ended.out
    intact()


@pytest.mark.parametrize("what", ["drop", "stall"])
def test_connections_that_all_drop_or_fall_silent_bring_the_file_together(
    fetching, intact, impatient, jumping_clock, what
):
    assert fetching(Fault(BLOBS, what, times=None, after_bytes=ENDS_IN_THREE)).status == 0
    intact()


def test_a_connection_that_never_brings_a_byte_is_given_up_with_a_sentence(refused, nothing_that_looks_whole, waits):
    told = refused(Fault(BLOBS, "drop", times=None, after_bytes=1))
    assert "dropped while blobs.zip was being downloaded; run the same command again" in told
    assert waits == [1, 2, 4]
    nothing_that_looks_whole()


def test_a_file_that_changes_between_tries_is_never_mixed(fetching, intact):
    assert fetching(Fault(BLOBS, "drop", after_bytes=ENDS_IN_THREE), Fault(BLOBS, "change", skip=1)).status == 0
    intact(VERSION=b"another\n")


def test_a_file_that_changes_between_commands_is_never_mixed(fetching, refused, intact, data):
    refused(Fault(BLOBS, "drop", after_bytes=ENDS_IN_THREE), Fault(BLOBS, "refuse", times=None, skip=1, status=403))
    (part,) = data.rglob("blobs.zip.part")
    assert 0 < part.stat().st_size <= ENDS_IN_THREE
    assert fetching(Fault(BLOBS, "change")).status == 0
    intact(VERSION=b"another\n")


@pytest.mark.parametrize("what", ["short", "garble"])
def test_a_wrong_length_or_a_flipped_bit_is_noticed_by_the_digest(fetching, intact, what):
    ended = fetching(Fault(BLOBS, what, after_bytes=700_000))
    assert ended.status == 0
    assert "came with other bytes than were promised" in ended.out
    intact()


def test_a_length_that_is_always_wrong_is_given_up_with_a_sentence(refused, nothing_that_looks_whole, waits):
    told = refused(Fault(BLOBS, "short", times=None, after_bytes=700_000))
    assert told == "blobs.zip came with other bytes than were promised; run the same command again to download it anew."
    assert len(waits) == 1  # it may be many gigabytes
    nothing_that_looks_whole()


def test_without_a_digest_unpacking_notices_and_the_next_command_downloads_anew(
    fetching, refused, intact, nothing_that_looks_whole, no_digests
):
    assert "blobs.zip is damaged" in refused(Fault(BLOBS, "short", after_bytes=700_000))
    nothing_that_looks_whole()
    assert fetching().status == 0
    intact()


def always(at, status, **more):
    return Fault(at, "refuse", times=None, status=status, **more)


CLOSED = {"userHasEntered": False, "newEntrantDeadline": "2017-03-01T00:00:00Z"}


def test_a_refusal_is_one_sentence_with_its_remedy(refused, data, nothing_that_looks_whole, waits):
    remedies = [
        ([always("DownloadDataFiles", 401)], ["https://www.kaggle.com/settings/api", "~/.kaggle/access_token"]),
        ([always("DownloadDataFiles", 403)], ["accept its rules at http://127.0.0.1"]),
        (
            [always("DownloadDataFiles", 403), Fault("GetCompetition", "set", fields=CLOSED)],
            ["closed to newcomers since 2017-03-01"],
        ),
        ([always("DownloadDataset", 403)], ["ask its owner"]),
        ([always("DownloadDataset", 404)], ["no data set 'someone/blobs'"]),
        ([always("DownloadDataFiles", 429, retry_after=61)], ["wait 61 seconds"]),
        ([always("DownloadDataFiles", 429, retry_after=3600)], ["wait 60 minutes"]),
        ([always("DownloadDataFiles", 429)], ["a few minutes"]),
        ([always("DownloadDataset", 503)], ["data set 'someone/blobs' (503)", "in a few minutes"]),
    ]
    for faults, words in remedies:
        told = refused(*faults)
        assert all(word in told for word in words), told
        nothing_that_looks_whole()
        # So that an archive that arrived before the refusal is downloaded again.
        shutil.rmtree(data, ignore_errors=True)
    assert waits == [1, 2, 4]  # for the last remedy, a failing server


@pytest.mark.parametrize(
    "refusals",
    [
        {
            "DownloadDataFiles": ({"status": 429, "retry_after": 30}, [30, 30]),
            "DownloadDataset": ({"status": 500}, [1, 2, 4]),
        },
        {BLOBS: ({"status": 503}, [1, 2, 4])},
    ],
)
def test_refusals_that_pass_soon_are_outlasted(fetching, intact, waits, refusals):
    ended = fetching(*(Fault(at, "refuse", times=len(waited), **refusal) for at, (refusal, waited) in refusals.items()))
    assert ended.status == 0
    assert sorted(waits) == sorted(seconds for _, waited in refusals.values() for seconds in waited)
    for refusal, waited in refusals.values():
        assert ended.out.count(f"({refusal['status']}); trying again in ") == len(waited)
    intact()


def test_a_burst_in_the_middle_of_a_file_loses_nothing_of_it(fetching, intact, waits):
    # Resuming takes two requests: the second one, for the rest, fails, and a full answer would be cut.
    drop = Fault(BLOBS, "drop", times=None, after_bytes=ENDS_IN_THREE)
    burst = Fault(BLOBS, "refuse", times=2, skip=2, status=503)
    assert fetching(burst, drop).status == 0
    intact()


def test_a_proxy_s_page_is_never_taken_for_a_file(fetching, refused, intact, nothing_that_looks_whole):
    for at in ("DownloadDataFiles", BLOBS):
        assert "with a web page instead of data" in refused(Fault(at, "page", times=None))
        nothing_that_looks_whole()
    assert fetching().status == 0
    intact()


def test_a_disk_that_fills_up_meanwhile_is_one_sentence_and_the_part_is_resumed(
    fetching, refused, workspace, disk, data, monkeypatch
):
    small = disk(workspace.folder / "data", size=700_000)
    # There is room at the check, but not when it is needed.
    monkeypatch.setattr("comp.kaggle.downloads.must_fit", lambda *_: None)
    assert "blobs.zip can't be written: the disk is full; give it room" in refused()
    assert not list(data.rglob("blobs.zip"))
    assert os.statvfs(data).f_bavail == 0
    small("size=8000000")
    assert fetching().status == 0


def test_a_folder_that_can_t_be_written_is_one_sentence(fetching, refused, workspace, disk, intact):
    unwritable = disk(workspace.folder / "data", size=8_000_000)
    unwritable("ro")
    told = refused()
    assert "Read-only file system" in told
    assert "COMP_HOME" in told
    unwritable("rw")
    assert fetching().status == 0
    intact()


def test_two_at_once_on_one_folder_bring_everything_once(bulky, serving, process, until, intact, data):
    command = ("--competitions", bulky.plugins, "download", "bulky")
    with serving(bulky, Fault(BLOBS, "stall", after_bytes=ENDS_IN_THREE, seconds=1)):
        first = process(*command)
        until(lambda: list(data.rglob("blobs.zip.part")))
        os.kill(first.pid, signal.SIGSTOP)
        second = process(*command)
        second.says(f"another download to {data} is under way; waiting for it")
        os.kill(first.pid, signal.SIGCONT)
        one, other = first.ends(), second.ends()
    assert (one.status, one.err, other.status, other.err) == (0, "", 0, "")
    assert "downloaded bulky.zip, blobs.zip" in one.out
    assert other.last_line == str(data)
    assert "downloaded" not in other.out
    intact()


def test_when_the_first_of_two_is_killed_the_second_resumes_from_there(bulky, serving, process, until, intact, data):
    command = ("--competitions", bulky.plugins, "download", "bulky")
    with serving(
        bulky, Fault(BLOBS, "stall", after_bytes=ENDS_IN_THREE), Fault(BLOBS, "drop", None, after_bytes=700_000)
    ):
        first = process(*command)
        until(lambda: [path for path in data.rglob("blobs.zip.part") if path.stat().st_size])
        second = process(*command)
        second.says(f"another download to {data} is under way; waiting for it")
        first.kill()
        ended = second.ends()
    assert (ended.status, ended.err) == (0, "")
    assert "downloaded bulky.zip, blobs.zip" in ended.out
    intact()


def test_an_interrupt_leaves_a_stalled_download_within_seconds_and_says_how_to_resume(
    bulky, serving, process, interrupted, until, fetching, intact, data
):
    with serving(bulky, Fault(BLOBS, "stall", after_bytes=ENDS_IN_THREE)):
        running = process("--competitions", bulky.plugins, "download", "bulky")
        until(lambda: [path for path in data.rglob("blobs.zip.part") if path.stat().st_size])
        began = time.monotonic()
        ended = interrupted(running)
    assert time.monotonic() - began < 10
    assert (ended.status, ended.err) == (130, "Stopped; the same command again starts from what is already done.\n")
    assert fetching(Fault(BLOBS, "drop", times=None, after_bytes=700_000)).status == 0
    intact()
