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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('[{"at": "archives", "what": "drop", "times": null, "after_bytes": 1000}]', []),
        ("{", ["JSON"]),
        ('[{"at": "archives", "what": "drop", "bytes": 1}]', ["bytes", "nexpected"]),
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
