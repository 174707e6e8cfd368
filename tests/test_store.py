"""Tables in object stores: the same rows, models and scores as of the same files in a folder.

The store is the part of S3's interface that is read: lists of names, sizes, and ranges of bytes.
"""

import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import pushforward as pf
from pushforward.architectures import RealNVP
from pushforward.data.parts import Part, in_parts, parts_of
from pushforward.data.stream import Stream
from pushforward.errors import InputError
from pushforward.fitting.fit_table import fit_table
from pushforward.models.table_file import load_table_model, save_table_model
from pushforward.models.table_model import TableModel
from test_cli import mistake

NAMES = ("day=1/p10.parquet", "day=1/p2.parquet", "day=2/a.parquet")


class Bucket(BaseHTTPRequestHandler):
    """`b`, which gives its files to those who sign their requests with a known key."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        asked = dict(urllib.parse.parse_qsl(url.query))
        name = urllib.parse.unquote(url.path).removeprefix("/b").lstrip("/")
        if "Credential=key/" not in self.headers.get("Authorization", ""):
            return self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        if "list-type" in asked:
            found = [n for n in self.server.files if n.startswith(asked.get("prefix", ""))]
            listed = "".join(
                f"<Contents><Key>{n}</Key><LastModified>2026-01-01T00:00:00Z</LastModified>"
                f"<ETag>x</ETag><Size>{len(self.server.files[n])}</Size></Contents>"
                for n in found
            )
            text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{listed}</ListBucketResult>"
            return self.answer(200, text.encode())
        if name not in self.server.files:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        data, part = self.server.files[name], self.headers.get("Range")
        if part is None:
            return self.answer(200, data)
        first, last = re.fullmatch(r"bytes=(\d*)-(\d*)", part).groups()
        start = int(first) if first else max(len(data) - int(last), 0)
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        return self.answer(206, data[start:stop], start, len(data))

    def answer(self, status, body, start=0, of=0):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", '"x"')
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{of}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    for i, name in enumerate(NAMES):
        path = root / name
        path.parent.mkdir(exist_ok=True)
        a = rng.normal(size=200 + i).astype(np.float32)
        pl.DataFrame({"a": a, "b": a**2 + rng.normal(size=len(a)).astype(np.float32)}).write_parquet(path)  # fmt: skip
    (root / "_SUCCESS").touch()
    return root


@pytest.fixture(scope="module")
def store(folder):
    """Where the files lie in the store, and how to reach it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    server.files = {
        f"t/{path.relative_to(folder)}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield (
        "s3://b/t",
        {
            "aws_endpoint_url": f"http://127.0.0.1:{server.server_address[1]}",
            "aws_allow_http": "true",
            "aws_region": "us-east-1",
            "aws_access_key_id": "key",
            "aws_secret_access_key": "secret",
        },
    )
    server.shutdown()


@pytest.fixture
def here(store, tmp_path, monkeypatch):
    """An empty folder, in an environment that says how to reach the store."""
    monkeypatch.chdir(tmp_path)
    for name, value in store[1].items():
        monkeypatch.setenv(name.upper(), value)
    return tmp_path


def test_a_store_lists_its_parts_as_a_folder_does(folder, store):
    url, options = store
    local = [str(part.relative) for part in parts_of(folder)]
    assert local == ["day=1/p2.parquet", "day=1/p10.parquet", "day=2/a.parquet"]
    for source in (url, f"{url}/", f"{url}/**/*.parquet", f"{url}/day=*/*.parquet"):
        parts = parts_of(source, options)
        assert in_parts(source)
        assert [str(part.relative) for part in parts] == local
        assert parts[0].folders == {"day": "1"}
    (one,) = parts_of(f"{url}/day=2/a.parquet", options)
    assert (str(one.relative), one.path) == ("a.parquet", f"{url}/day=2/a.parquet")
    with one.local() as path:
        assert pl.read_parquet(path).equals(pl.read_parquet(folder / "day=2/a.parquet"))
    assert not path.exists()


def test_a_stream_reads_a_store(folder, store):
    url, options = store
    table, own = Stream(url, storage_options=options).open(), Stream(folder).open()
    assert (table.names, table.total, table.single) == (own.names, own.total, own.single)
    np.testing.assert_array_equal(table.read(150, 450), own.read(150, 450))
    days = Stream(f"{url}/day=*/*.parquet", ["a"], ["day"], storage_options=options).open()
    assert days.read(400, 403)[:, 1].tolist() == [1.0, 2.0, 2.0]


def test_the_command_scores_a_store(run, folder, here):
    rows = np.concatenate([pl.read_parquet(folder / name).to_numpy() for name in NAMES])
    model = here / "m.safetensors"
    tiny = {"architecture": RealNVP(layers=1, width=8), "training": pf.Training(max_epochs=1)}
    fitted = fit_table(rows, names=["a", "b"], trust=False, **tiny)
    save_table_model(fitted, model)
    done = run("score", model, "s3://b/t/", "-o", here / "stored", "--quiet")
    assert done.code == 0, done.err
    run("score", model, folder, "-o", here / "local", "--quiet")
    for name in NAMES:
        found, wanted = (pl.read_parquet(here / of / name) for of in ("stored", "local"))
        assert found.equals(wanted)
    again = run("score", model, "s3://b/t/", "-o", here / "stored")
    assert "3 done already" in again.err
    message = mistake(run("score", model, "s3://b/t/", "-o", here / "scores.csv"))
    assert "are scored into a folder" in message


def test_the_command_fits_a_store_as_it_fits_a_folder(run, folder, here):
    models: list[TableModel] = []
    for data in (str(folder), "s3://b/t"):
        out = here / f"{len(models)}.safetensors"
        options = ("--flow", "realnvp", "--set", "width=8", "--max-epochs", "1", "--quiet")
        done = run("fit", data, "-o", out, *options)
        assert done.code == 0, done.err
        models.append(load_table_model(out))
    rows = np.zeros((3, 2), np.float32)
    np.testing.assert_array_equal(*(model.log_prob(rows) for model in models))


def test_what_a_store_does_not_give_is_one_line(store):
    url, options = store
    wrong = {**options, "aws_access_key_id": "other", "max_retries": 0}
    closed = {**options, "aws_endpoint_url": "http://127.0.0.1:9", "max_retries": 0}
    for source, how, text in (
        (f"{url}/nothing/", options, "no Parquet files are there"),
        (f"{url}/*.parquet", options, "no Parquet files are there"),
        (f"{url}/x.parquet", options, "x.parquet"),
        (url, wrong, "cannot be read from its store"),
        (url, closed, "cannot be read from its store"),
    ):
        with pytest.raises(InputError, match=re.escape(text)) as caught:
            Stream(source, storage_options=how).open()
        assert "\n" not in str(caught.value)
    gone = Part(f"{url}/x.parquet", Path("x.parquet"), tuple(options.items()))
    with pytest.raises(InputError, match="cannot be read from its store"), gone.local():
        pass


def test_keys_are_not_shown(store):
    url, options = store
    stream = Stream(f"{url}/day=2/a.parquet", storage_options=options)
    shown = repr(stream) + repr(parts_of(stream.source, options)) + repr(stream.open())
    assert "secret" not in shown
