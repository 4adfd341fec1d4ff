"""Corpora of the Hub: the real `datasets` reads small local files, cut connections and stopped processes included."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.data import hub, shards, tokens
from blueberry_lib.data.prepare import prepare as prepare_corpus

datasets = pytest.importorskip("datasets")
OPEN = "stdlib, docs, text:GLOB or tokens:DIR"


def text_of(i: int, kind: str = "page") -> str:
    return "\n".join(f"{kind} {i}, line {j}: words of prose, an accent é and \u2028 no end" for j in range(1 + i % 5))


def write_parquet(folder: Path, columns: dict[str, list], files: int = 3) -> Path:
    folder.mkdir(parents=True)
    whole = datasets.Dataset.from_dict(columns)
    for i in range(files):
        whole.shard(files, i, contiguous=True).to_parquet(folder / f"train-{i:05d}.parquet", batch_size=16)
    return folder


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Blocks of 2,000 tokens, so that local files of a few hundred examples are more than enough; no waiting."""
    monkeypatch.setenv("BLUEBERRY_CACHE", str(tmp_path / "cache"))
    for name, value in {"BLOCK": 2_000, "HELD_OUT": 96, "CHECKPOINT": 700, "WAITS": (0,) * 4}.items():
        monkeypatch.setattr(hub, name, value)


@pytest.fixture
def pages(tmp_path, small):
    return f"hub:{write_parquet(tmp_path / 'pages', {'text': [text_of(i) for i in range(300)], 'id': [*range(300)]})}"


@pytest.fixture
def mix(tmp_path, small, monkeypatch):
    """smollm-mix from a local folder of two configs, and any tokenizer in SmolLM2's place."""
    root = tmp_path / "mix"
    names = [source.config for source in hub.BUILT_IN["smollm-mix"]]
    for name, kind in zip(names, ("web", "textbook of a longer kind"), strict=True):
        write_parquet(root / name, {"text": [text_of(i, kind) for i in range(300)]}, files=2)
    configs = "\n".join(f"- config_name: {name}\n  data_files: {name}/*.parquet" for name in names)
    (root / "README.md").write_text(f"---\nconfigs:\n{configs}\n---\n")
    local = tuple(hub.Source(str(root), source.config, share=source.share) for source in hub.BUILT_IN["smollm-mix"])
    monkeypatch.setitem(hub.BUILT_IN, "smollm-mix", local)
    trained = tokens.train_tokenizer([text_of(4, "web")], 300)
    monkeypatch.setattr(hub, "smollm_tokenizer", lambda spec: trained)
    return "smollm-mix"


@pytest.fixture
def blueberry(tmp_path, small, monkeypatch):
    ids = np.random.default_rng(0).integers(0, hub.SMOLLM_ENTRIES, (400, 32))
    root = write_parquet(tmp_path / "chunks", {"input_ids": ids.tolist()})
    monkeypatch.setitem(hub.BUILT_IN, "blueberry", (hub.Source(str(root), column="input_ids"),))
    vocabulary = tokens.train_tokenizer(["text"], 257)
    vocabulary.add_tokens([f"<{i}>" for i in range(hub.SMOLLM_ENTRIES - vocabulary.get_vocab_size())])
    monkeypatch.setattr(hub, "smollm_tokenizer", lambda spec: vocabulary)
    return ids.ravel()


def prepare(spec: str, train_tokens: int = 1_000) -> shards.TokenData:
    return prepare_corpus(spec, 300, train_tokens=train_tokens)


def texts(data: shards.TokenData) -> list[str]:
    whole = data.tokenizer().decode(np.concatenate([data.train, data.val]).tolist(), skip_special_tokens=False)
    return sorted(whole.split(tokens.END_OF_TEXT)[:-1])


def cut(monkeypatch, after: int, error: Exception, times: int = 1) -> list[int | None]:
    """Break each stream after so many examples, the first ``times`` times; returns the id each attempt began with."""
    whole, began = datasets.IterableDataset.__iter__, []

    def broken(self):
        began.append(None)
        for i, example in enumerate(whole(self)):
            began[-1] = example.get("id") if i == 0 else began[-1]
            if i == after and len(began) <= times:
                raise error
            yield example

    monkeypatch.setattr(datasets.IterableDataset, "__iter__", broken)
    return began


def refused(spec: str, train_tokens: int = 1_000) -> str:
    """The one line that says why."""
    with pytest.raises(BlueberryError) as caught:
        prepare(spec, train_tokens)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_text_dataset_is_streamed_up_to_the_limit_and_split_by_document(pages, monkeypatch):
    data = prepare(pages)
    found = texts(data)
    assert 30 < len(found) < 299 and found == sorted(text_of(i) for i in range(len(found)))
    size = sum(len(json.dumps(text, ensure_ascii=False).encode()) + 1 for text in found)
    assert hub.limit(pages, 1) == 12_000 <= size < 12_000 + 500
    assert data.manifest["license"] == "see the dataset's page" and data.vocab_size <= 300
    assert not list(shards.cache_folder().glob(".download-*[0-9a-f]")) and len(data.val) > 0
    monkeypatch.setattr(hub, "fetch", None)
    assert prepare(pages).sha256 == data.sha256


def test_more_training_tokens_download_more_and_too_many_are_refused(pages, mix):
    assert hub.limit(pages, 2_000) * 4 == hub.limit(pages, 2_001) == hub.limit(pages, 8_000)
    assert len(prepare(pages, train_tokens=2_001).train) > 2 * len(prepare(pages).train)
    assert "in memory, which holds for 32,000 training tokens at most, not 32,001" in refused(mix, train_tokens=32_001)


def test_config_split_and_column_are_taken_and_arrow_files_read(tmp_path, small):
    whole = datasets.Dataset.from_dict({"body": [text_of(i) for i in range(60)] + ["  ", None]})
    whole.to_json(tmp_path / "lines" / "validation.jsonl")
    spec = f"hub:{tmp_path}/lines::validation:body"
    assert texts(prepare(spec)) == sorted(text_of(i) for i in range(60))
    whole.save_to_disk(tmp_path / "saved")
    (tmp_path / "arrow").mkdir()
    next((tmp_path / "saved").glob("*.arrow")).rename(tmp_path / "arrow" / "train.arrow")
    assert texts(prepare(f"hub:{tmp_path}/arrow:default:train:body")) == texts(prepare(spec))


def test_blueberry_is_split_by_chunk_and_says_so(blueberry):
    data = prepare("blueberry")
    assert np.array_equal(data.val, blueberry[:96]) and np.array_equal(data.test, blueberry[96:192])
    assert np.array_equal(data.train, blueberry[192:2_016])
    assert "split by chunk" in data.manifest["note"] and data.vocab_size == 49_152
    assert data.tokenizer().get_vocab_size() == 49_152
    assert prepare("blueberry:40M", train_tokens=10**9).folder == data.folder
    more = prepare("blueberry", train_tokens=1_825)
    assert np.array_equal(more.val, data.val) and np.array_equal(more.train, blueberry[192:8_000])
    whole = prepare("blueberry", train_tokens=10**9)  # more than there is: all of it
    assert np.array_equal(whole.train, blueberry[192:])


def test_blueberrys_constants_are_the_tracks():
    assert hub.limit("blueberry", 20_000_000) == hub.limit("blueberry:40M", 10**9) == 2 * 40_960_000
    assert hub.limit("blueberry", 100_000_000) == 2 * 163_840_000
    assert hub.limit("blueberry", 10**9) > 2 * 10**9
    assert hub.HELD_OUT > 1_048_576 + 1 and hub.HELD_OUT % hub.CHUNK == 0


def test_smollm_mix_is_seventy_to_thirty_by_bytes(mix):
    found = texts(prepare(mix))
    textbook = sum(len(text.encode()) for text in found if text.startswith("textbook"))
    assert abs(textbook / sum(len(text.encode()) for text in found) - 0.3) < 0.03


@pytest.mark.parametrize("kind", ["os", "http"])
def test_a_dropped_connection_is_taken_up_where_it_stopped(pages, monkeypatch, tmp_path, kind):
    from huggingface_hub.errors import HfHubHTTPError

    expected = prepare(pages)
    monkeypatch.setenv("BLUEBERRY_CACHE", str(tmp_path / "other"))
    error = ConnectionError("Server Disconnected") if kind == "os" else HfHubHTTPError.__bases__[0]("timed out")
    began = cut(monkeypatch, 33, error, times=2)
    assert prepare(pages).sha256 == expected.sha256
    assert len(began) == 3 and began[0] == 0 < began[1] < began[2]


def test_a_mix_is_the_same_after_a_cut(mix, monkeypatch, tmp_path):
    expected = prepare(mix)
    monkeypatch.setenv("BLUEBERRY_CACHE", str(tmp_path / "other"))
    cut(monkeypatch, 17, TimeoutError(), times=4)
    assert prepare(mix).sha256 == expected.sha256


def test_a_connection_that_stays_away_is_given_up_and_what_came_is_kept(pages, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(hub, "WAITS", (1, 2, 4))
    began = cut(monkeypatch, 0, ConnectionError("Network is unreachable"), times=99)
    message = refused(pages)
    assert "does not answer (ConnectionError: Network is unreachable)" in message and OPEN in message
    assert "0 MB are kept: the same command goes on from there" in message
    assert waits == [1, 2, 4] and len(began) == 4


def test_a_killed_process_loses_and_repeats_nothing(pages, monkeypatch, tmp_path):
    expected = prepare(pages)
    monkeypatch.setenv("BLUEBERRY_CACHE", str(tmp_path / "other"))
    script = f"""
import os, datasets
from blueberry_lib.data import hub
from blueberry_lib.data.prepare import prepare
hub.BLOCK, hub.CHECKPOINT = 2_000, 700
whole = datasets.IterableDataset.__iter__
def stopped(self):
    for i, example in enumerate(whole(self)):
        if i == 40:
            os._exit(9)
        yield example
datasets.IterableDataset.__iter__ = stopped
prepare({pages!r}, 300, train_tokens=1_000)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    (state,) = (tmp_path / "other").glob(".download-*/state.json")
    assert 0 < json.loads(state.read_text())["size"] < 12_000
    began = cut(monkeypatch, 0, ConnectionError(), times=0)
    assert prepare(pages).sha256 == expected.sha256 and began[0] > 20


def test_the_commit_of_the_first_contact_is_kept(pages, monkeypatch):
    asked, spec = [], f"{pages}@v1"
    monkeypatch.setattr(hub, "_resolve", lambda spec, source: asked.append(source.revision) or f"commit{len(asked)}")
    with monkeypatch.context() as patch:
        patch.setattr(hub, "WAITS", ())
        cut(patch, 33, ConnectionError())
        refused(spec)
    assert list(prepare(spec).manifest["revisions"].values()) == ["commit1"] and asked == ["v1"]


@pytest.mark.parametrize("spec", ["blueberry", "smollm-mix", "hub:roneneldan/TinyStories"])
def test_without_a_network_the_corpora_that_need_none_are_named(small, spec, monkeypatch):
    def unreachable(*arguments, **options):
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", unreachable)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    message = refused(spec)
    assert message.startswith(f"{spec} comes from a network. The Hugging Face Hub does not answer (ConnectError: ")
    assert message.endswith(f"Corpora that need none: {OPEN}.")


COMMIT = "0123456789" * 4


class FakeHub(http.server.BaseHTTPRequestHandler):
    """As much of the Hub as streaming asks for: datasets are folders under ``root``; a/gated is gated."""

    root: Path

    def log_message(self, *arguments) -> None:
        pass

    def send(self, status: int, data: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self) -> None:
        api, _, rest = unquote(urlsplit(self.path).path).lstrip("/").partition("datasets/")
        name, rest = "/".join(rest.split("/")[:2]), rest.split("/")[2:]
        if name == "a/gated" and not api:
            self.send(403, X_Error_Code="GatedRepo")
        elif not (self.root / name).is_dir():
            self.send(404, X_Error_Code="RepoNotFound")
        elif api:
            files = {path.name: path.stat().st_size for path in sorted((self.root / name).iterdir())}
            entries = [{"type": "file", "path": f, "size": size, "oid": "0"} for f, size in files.items()]
            about = {"id": name, "sha": COMMIT, "private": False, "tags": [], "siblings": []}
            body = entries if rest[0] == "tree" else about
            self.send(200, json.dumps(body).encode(), Content_Type="application/json")
        elif rest[1] != COMMIT or not (self.root / name / rest[-1]).exists():
            self.send(404, X_Error_Code="EntryNotFound")
        else:
            data = (self.root / name / rest[-1]).read_bytes()
            first, last = self.headers.get("Range", f"bytes=0-{len(data) - 1}").removeprefix("bytes=").split("-")
            part = data[int(first) : int(last) + 1]
            where = f"bytes {first}-{last}/{len(data)}"
            self.send(206 if "Range" in self.headers else 200, part, ETag='"0"', Content_Range=where)

    do_HEAD = do_GET


def test_a_hub_over_http(tmp_path, pages):
    write_parquet(tmp_path / "root" / "a" / "pages", {"text": [text_of(i) for i in range(300)]})
    (tmp_path / "root" / "a" / "gated").mkdir()
    handler = type("Handler", (FakeHub,), {"root": tmp_path / "root"})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script = """
from blueberry_lib.config import BlueberryError
from blueberry_lib.data import hub
from blueberry_lib.data.prepare import prepare
hub.BLOCK, hub.CHECKPOINT = 2_000, 700
for name in ("a/gated", "a/nothing", "no name", "a/pages"):
    try:
        print(prepare(f"hub:{name}", 300, train_tokens=1_000).manifest["revisions"])
    except BlueberryError as error:
        print(error)
"""
    environment = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ | environment
    )  # fmt: skip
    server.shutdown()
    server.server_close()
    assert done.returncode == 0, done.stderr  # Arrow's threads have ended
    gated, nothing, malformed, revisions = done.stdout.splitlines()
    assert gated.startswith("The dataset a/gated is gated: accept its terms at https://huggingface.co/datasets/a/gated")
    assert nothing.startswith("The Hub has no 'a/nothing', or it is private") and "'no name'" in malformed
    assert revisions == str({"a/pages": COMMIT})
    texts_of = [texts(shards.load(folder)) for folder in shards.cache_folder().glob("hub-*")]
    assert texts_of == [texts(prepare(pages))]


def test_a_missing_column_split_or_config_is_named(pages):
    assert "has no column 'body'; it has text, id." in refused(f"{pages}:::body")
    assert "The column 'id' of" in refused(f"{pages}:::id") and "holds int, not text" in refused(f"{pages}:::id")
    assert "Bad split: test. Available splits: ['train']" in refused(f"{pages}::test")
    assert "'poems' not found. Available: ['default']" in refused(f"{pages}:poems")


def test_ids_out_of_range_are_refused(blueberry, tmp_path, monkeypatch):
    root = write_parquet(tmp_path / "bad", {"input_ids": [[0, 49_152]] * 3})
    monkeypatch.setitem(hub.BUILT_IN, "blueberry", (hub.Source(str(root), column="input_ids"),))
    assert "holds ids 0 to 49152" in refused("blueberry")


@pytest.mark.parametrize("spec", ["blueberry:9M", "smollm-mix:40M", "hub:", "hub::config", "hub:a/b:c:d:e:f"])
def test_a_malformed_name_is_refused(spec):
    assert spec in refused(spec)


def test_without_datasets_the_extra_is_named(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "pip install 'blueberry-lib[hub]', or use " + OPEN in refused("blueberry")
