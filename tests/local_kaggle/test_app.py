from urllib.parse import quote

import pytest
import requests

from comp.local_kaggle.app import team_of

SLUG = "two-digits"


def raw_get(url, path):
    """GET without requests' normalisation of ``..``."""
    request = requests.Request("GET", url).prepare()
    request.url = url + path
    with requests.Session() as session:
        return session.send(request, timeout=5)


def test_answers_and_hidden_files_are_served_by_no_path(url):
    names = [
        f"../.answers/{SLUG}.csv",
        f"../../.answers/{SLUG}.csv",
        f".answers/{SLUG}.csv",
        f"notes/../../.answers/{SLUG}.csv",
        f"./../.answers/{SLUG}.csv",
        ".secret.csv",
        "./.secret.csv",
        "/etc/passwd",
        "..",
    ]
    paths = [f"/files/{SLUG}/{spelt}" for name in names for spelt in (name, quote(name, safe=""), quote(quote(name)))]
    paths += [f"/files/.answers/{SLUG}.csv", "/archives/.answers.zip", f"/.answers/{SLUG}.csv"]
    paths += [f"/files/%2e%2e/.answers/{SLUG}.csv", f"/uploads/../.answers/{SLUG}.csv", "/archives/..%2f.answers.zip"]
    for path in paths:
        response = raw_get(url, path)
        assert response.status_code in {404, 405}, path
        assert "7" not in response.text.replace(SLUG, ""), path


def test_answers_are_given_by_no_message(url):
    competitions, datasets = "competitions.CompetitionApiService", "datasets.DatasetApiService"
    slugs = [".answers", "..", f"{SLUG}/../.answers", f"../served/{SLUG}", "", "%2e%2e"]
    names = [f"{SLUG}.csv", f".answers/{SLUG}.csv", f"../.answers/{SLUG}.csv"]
    asked = [(f"{competitions}/DownloadDataFile", {"competitionName": SLUG, "fileName": name}) for name in names]
    for slug in slugs:
        asked += [
            (f"{competitions}/{call}", {"competitionName": slug}) for call in ("DownloadDataFiles", "ListDataFiles")
        ]
        for name in names:
            asked.append((f"{competitions}/DownloadDataFile", {"competitionName": slug, "fileName": name}))
            asked.append((f"{datasets}/DownloadDataset", {"datasetSlug": slug, "fileName": name}))
    with requests.Session() as session:
        for call, body in asked:
            response = session.post(f"{url}/v1/{call}", json=body, timeout=5)
            assert (response.status_code, response.json()["code"]) == (404, 404), (call, body)


def test_a_message_that_is_none_is_refused_and_the_server_goes_on(url):
    path = f"{url}/v1/competitions.CompetitionApiService/ListDataFiles"
    token = f'{{"competitionName": "{SLUG}", "pageToken": "x"}}'.encode()
    for body in (b"", b"{", b"[]", b"3", b"\xff", token):
        assert requests.post(path, data=body, timeout=5).status_code in {400, 404}, body
    assert requests.post(path, json={"competitionName": SLUG}, timeout=5).status_code == 200
    response = requests.post(f"{url}/v1/kernels.KernelsApiService/ListKernels", json={}, timeout=5)
    assert response.status_code == 501  # an unknown message


def test_what_lies_beside_the_data_sets_is_none_of_them(url, tmp_path):
    (tmp_path / "state" / "datasets").mkdir()
    announce = {"contentLength": 4, "name": "a.csv"}
    requests.post(f"{url}/v1/blobs.BlobApiService/StartBlobUpload", json=announce, timeout=5).raise_for_status()
    for owner in ("..", "."):
        asked = {"ownerSlug": owner, "datasetSlug": "uploads"}
        status = requests.post(f"{url}/v1/datasets.DatasetApiService/GetDatasetStatus", json=asked, timeout=5)
        assert status.status_code == 403, owner


def test_an_upload_must_be_announced_and_of_its_announced_size(url):
    start = f"{url}/v1/competitions.CompetitionApiService/StartSubmissionUpload"
    body = {"competitionName": SLUG, "contentLength": 4, "fileName": "../../x.csv"}
    ticket = requests.post(start, json=body, timeout=5).json()
    submit = f"{url}/v1/competitions.CompetitionApiService/CreateSubmission"
    wanted = {"competitionName": SLUG, "blobFileTokens": ticket["token"]}
    assert requests.put(f"{url}/uploads/nobody", data=b"1234", timeout=5).status_code == 404
    assert requests.put(ticket["createUrl"], data=b"123", timeout=5).status_code == 400
    assert requests.put(ticket["createUrl"], data=b"12345", timeout=5).status_code == 400
    assert requests.post(submit, json=wanted, timeout=5).status_code == 400
    assert requests.put(ticket["createUrl"], data=b"1234", timeout=5).status_code == 200
    assert requests.post(submit, json={**wanted, "competitionName": "more-digits"}, timeout=5).status_code == 400
    assert requests.post(submit, json=wanted, timeout=5).status_code == 200
    assert requests.post(submit, json=wanted, timeout=5).status_code == 400


def test_who_opens_its_address_is_told_where_to_look(url):
    assert "`comp board` shows its leaderboards" in requests.get(url, timeout=5).text


@pytest.mark.parametrize(
    ("header", "team"),
    [
        (None, "you"),
        ("Bearer local:ada%20l", "ada l"),
        ("Bearer KGAT_secret", "you"),
        ("Basic YWRhOmtleQ==", "you"),
        ("Bearer local:", "you"),
    ],
)
def test_the_team_is_the_user_name_and_never_a_token(header, team):
    assert team_of(header) == team


def test_a_web_page_is_not_answered_nor_who_calls_it_by_another_name(url):
    call = f"{url}/v1/competitions.CompetitionApiService/GetCompetition"
    asked = {"data": f'{{"competitionName": "{SLUG}"}}', "timeout": 5}
    assert requests.post(call, **asked).status_code == 200
    for origin in ("https://example.org", "null", url):
        assert requests.post(call, headers={"Origin": origin}, **asked).status_code == 403
    assert requests.get(url, headers={"Host": "evil.example"}, timeout=5).status_code == 400
