"""OpenML's answers, recorded in its format, are served in place of the network."""

import gzip
import hashlib
import io
import json
import socket
from email.message import Message
from urllib.error import HTTPError, URLError

import pytest
import sklearn.datasets._openml as openml

from vicinal.core.checks import InputError
from vicinal.data import load_table

ARFF = """@relation r
@attribute id numeric
@attribute width real
@attribute kind {'a b',c}
@attribute Species {u,v}
@data
"""
ROWS = ["1,1.5,'a b',u", "2,?,c,v", "3,2.5,c,u", "4,3.5,'a b',?", "5,4.5,'a b',v"]


def feature(index, name, kind, *, target=False, row_id=False):
    flags = {"is_target": target, "is_row_identifier": row_id, "is_ignore": False}
    return {
        "index": str(index),
        "name": name,
        "data_type": kind,
        "number_of_missing_values": "1" if target else "0",
        **{flag: str(value).lower() for flag, value in flags.items()},
    }


class Answers:
    """What `urlopen` returns, by the last part of the address; requests are recorded."""

    def __init__(self, **changes):
        arff = (ARFF + "\n".join(ROWS) + "\n").encode()
        description = {
            "id": "61",
            "name": "flowers",
            "version": "1",
            "description": "none",
            "format": "ARFF",
            "status": "active",
            "url": "https://www.openml.org/data/v1/download/7/flowers.arff",
            "default_target_attribute": "Species",
            "row_id_attribute": "id",
            "md5_checksum": hashlib.md5(arff).hexdigest(),
        } | changes
        features = [
            feature(0, "id", "numeric", row_id=True),
            feature(1, "width", "numeric"),
            feature(2, "kind", "nominal"),
            feature(3, "Species", "nominal", target=True),
        ]
        self.requests = []
        self.bodies = {
            "data/61": json.dumps({"data_set_description": description}).encode(),
            "features/61": json.dumps({"data_features": {"feature": features}}).encode(),
            "qualities/61": json.dumps({"data_qualities": {"quality": []}}).encode(),
            "7/flowers.arff": arff,
        }

    def __call__(self, request, *args, **kwargs):
        self.requests.append((request.full_url, socket.getdefaulttimeout()))
        body = self.bodies.get("/".join(request.full_url.split("/")[-2:]))
        headers = Message()
        headers["Content-Encoding"] = "gzip"
        if body is None:
            raise HTTPError(request.full_url, 412, "Precondition Failed", headers, io.BytesIO())
        stream = io.BytesIO(gzip.compress(body))
        stream.info = lambda: headers
        return stream


@pytest.fixture
def serve(monkeypatch, tmp_path):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setattr(openml.time, "sleep", lambda seconds: None)

    def start(answers):
        monkeypatch.setattr(openml, "urlopen", answers)
        return answers

    return start


def test_a_table_and_its_cache(serve):
    answers = serve(Answers())
    table = load_table("openml:61")
    assert (table.name, table.source, table.target_name) == ("flowers", "openml:61", "Species")
    assert table.target.tolist() == ["u", "v", "u", "v"]
    assert table.notes == ("1 rows without a target dropped",)
    assert list(table.features) == ["width", "kind"]
    assert table.features["kind"].tolist() == ["a b", "c", "c", "a b"]
    assert table.features["width"].isna().tolist() == [False, True, False, False]
    fetched = len(answers.requests)
    load_table("openml:61")
    assert len(answers.requests) == fetched


def test_another_target(serve):
    serve(Answers())
    table = load_table("openml:61", target="kind")
    assert table.classes == ["a b", "c"]
    assert list(table.features) == ["width", "Species"]
    with pytest.raises(InputError, match=r"no column 'kinds'; did you mean 'kind'\?"):
        load_table("openml:61", target="kinds")


def test_no_connection_waits_for_ever(serve):
    answers = serve(Answers())
    load_table("openml:61")
    assert all(timeout == 30 for _, timeout in answers.requests)
    assert socket.getdefaulttimeout() is None


def test_openmls_own_warnings_become_notes(serve):
    serve(Answers(status="deactivated", warning="half of it is missing"))
    notes = load_table("openml:61").notes
    assert notes[0].startswith("Version 1 of dataset flowers is inactive")
    assert "half of it is missing" in notes[1]


def test_a_connection_that_fails_once_is_tried_again(serve):
    class Flaky(Answers):
        def __call__(self, request, *args, **kwargs):
            if not self.requests:
                self.requests.append((request.full_url, None))
                raise URLError("reset")
            return super().__call__(request, *args, **kwargs)

    serve(Flaky())
    assert load_table("openml:61").rows == 4


def offline(request, *args, **kwargs):
    raise URLError(OSError(-2, "Name or service not known"))


def unavailable(request, *args, **kwargs):
    raise HTTPError(request.full_url, 503, "Service Unavailable", Message(), io.BytesIO())


def silent(request, *args, **kwargs):
    raise TimeoutError("timed out")


def nonsense(request, *args, **kwargs):
    stream = io.BytesIO(b"<html>\nhello\n")
    stream.info = Message
    return stream


@pytest.mark.parametrize(
    ("answers", "source", "message"),
    [
        (Answers(), "openml:62", "openml:62 can't be read: Dataset with data_id 62 not found"),
        (offline, "openml:61", "openml:61 could not be fetched: .*Name or service not known.*; check the network"),
        (unavailable, "openml:61", "openml:61 could not be fetched: .*503.*; check the network"),
        (silent, "openml:61", "openml:61 could not be fetched: timed out; check the network"),
        (nonsense, "openml:61", "openml:61 can't be read: Expecting value"),
        (Answers(md5_checksum="0" * 32), "openml:61", "openml:61 can't be read: The md5 checksum"),
        (Answers(format="Sparse_ARFF"), "openml:61", "openml:61 can't be read: Sparse ARFF"),
        (
            Answers(default_target_attribute="a,b"),
            "openml:61",
            "which column is the target.*'width', 'kind', 'Species'",
        ),
        (offline, "openml:iris", "named by its number, such as openml:61, got 'openml:iris'"),
        (offline, "openml:", "named by its number"),
        (offline, "openml:0", "named by its number"),
        (offline, "openml:-1", "named by its number"),
    ],
)
def test_errors(serve, answers, source, message):
    serve(answers)
    with pytest.raises(InputError, match=message) as caught:
        load_table(source)
    assert str(caught.value).isprintable()
