import time

import pytest
import requests

from comp.errors import DeclarationError
from comp.local_kaggle.faults import Fault, read_plan
from comp.local_kaggle.server import running

ARCHIVE = "/archives/two-digits.zip"
LIST = "/v1/competitions.CompetitionApiService/ListDataFiles"


@pytest.fixture
def misbehaving(served, graders, tmp_path):
    def start(*plan):
        return running(served, graders, tmp_path / "state", plan)

    return start


def get(url):
    return requests.get(url + ARCHIVE, timeout=5)


def test_only_the_requests_that_a_fault_is_for_are_struck_and_each_fault_counts_for_itself(misbehaving):
    plan = [
        Fault("archives", "refuse", times=2, skip=1, status=500),
        Fault("archives/two-digits.zip", "refuse", skip=4, status=503),
        Fault("ListDataFiles", "refuse", status=429, message="slowly", retry_after=9),
        Fault("ListDataFiles", "set", skip=1, fields={"nextPageToken": "more"}),
    ]
    with misbehaving(*plan) as url:
        assert requests.get(url, timeout=5).status_code == 200
        assert [get(url).status_code for _ in range(6)] == [200, 500, 500, 200, 503, 200]
        body = {"competitionName": "two-digits"}
        refused, changed, listed = (requests.post(url + LIST, json=body, timeout=5) for _ in range(3))
    # As Kaggle refuses.
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "9")
    assert refused.json() == {"code": 429, "message": "slowly"}
    assert changed.json() == {**listed.json(), "nextPageToken": "more"}


@pytest.mark.parametrize("after_bytes", [0, 1, 300])
def test_a_dropped_connection_ends_after_so_many_bytes(misbehaving, after_bytes):
    with misbehaving(Fault("archives", "drop", after_bytes=after_bytes)) as url:
        if not after_bytes:
            with pytest.raises(requests.ConnectionError):
                get(url)
            return
        response = requests.get(url + ARCHIVE, stream=True, timeout=5)
        assert int(response.headers["Content-Length"]) > 300
        assert len(response.raw.read(after_bytes)) == after_bytes
        with pytest.raises(Exception, match="IncompleteRead"):
            response.raw.read(1)


def test_a_stalled_connection_is_silent_and_then_ends(misbehaving):
    with misbehaving(Fault("archives", "stall", after_bytes=100, seconds=0.3)) as url:
        response = requests.get(url + ARCHIVE, stream=True, timeout=5)
        began = time.monotonic()
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            assert response.content
        assert time.monotonic() - began >= 0.25


def test_short_and_garbled_files_look_whole(misbehaving):
    with misbehaving(
        Fault("archives", "short", after_bytes=50), Fault("archives", "garble", skip=1, after_bytes=7)
    ) as url:
        short, garbled, whole = get(url), get(url), get(url)
    assert short.headers["Content-Length"] == "50"
    assert short.content == whole.content[:50]
    assert len(garbled.content) == len(whole.content)
    assert [index for index in range(len(whole.content)) if garbled.content[index] != whole.content[index]] == [7]
    assert short.headers["x-goog-hash"] == garbled.headers["x-goog-hash"] == whole.headers["x-goog-hash"]


def test_a_changed_archive_stays_changed_and_is_not_resumed(misbehaving):
    with misbehaving(Fault("archives", "change", skip=1)) as url:
        first, second = get(url), get(url)
        asked = {"Range": "bytes=100-", "If-Range": first.headers["ETag"]}
        third = requests.get(url + ARCHIVE, headers=asked, timeout=5)
    assert first.headers["ETag"] != second.headers["ETag"]
    assert (third.status_code, third.content) == (200, second.content)
    assert first.content != second.content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"at": "archives", "what": "drop", "times": null, "after_bytes": 1000}]', []),
        ("{", ["JSON"]),
        ('{"at": "archives"}', ["list"]),
        ('[{"at": "archives"}]', ["what", "required"]),
        ('[{"at": "archives", "what": "drop", "bytes": 1}]', ["bytes", "nexpected"]),
        ('[{"at": "archives", "what": "explode"}]', ["what", "explode", "'drop'"]),
        ('[{"at": "archives", "what": "drop", "times": 0}]', ["times", "greater than or equal to 1"]),
        ('[{"at": "archives", "what": "stall", "seconds": -1}]', ["seconds", "-1"]),
    ],
)
def test_a_plan_is_a_file_of_fields_and_one_with_a_mistake_is_one_sentence_that_names_it(tmp_path, content, words):
    (tmp_path / "plan.json").write_text(content)
    if not words:
        assert read_plan(tmp_path / "plan.json") == [Fault("archives", "drop", times=None, after_bytes=1000)]
        return
    with pytest.raises(DeclarationError, match="plan of faults") as caught:
        read_plan(tmp_path / "plan.json")
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)
