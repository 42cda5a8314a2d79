"""Downloads from a server on this machine that breaks off, forgets or ignores ranges, or sends something else."""

import hashlib
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from surgicalft.shifts import download
from surgicalft.shifts.download import Archive, fetch

CONTENT = bytes(i * i % 251 for i in range(400_000))
LOOKED_FOR = "toy: no toy/ in any data folder"


class Server(ThreadingHTTPServer):
    """Sends `content`; breaks off the first `cuts` answers after `share` of what was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.cuts, self.share, self.ranges = CONTENT, 0, 0.5, True
        self.asked, self.sent, self.status = [], 0, None
        self.stalled = None  # an event to wait for in the middle of an answer


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.asked.append(asked)
        if server.status:
            return self.send_error(server.status)
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.ranges else 0
        total = len(server.content)
        if start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        self.send_body(server.content[start:])

    def send_body(self, body):
        server = self.server
        half = int(server.share * len(body))
        server.sent += half  # before the client can have it
        self.wfile.write(body[:half])
        if server.stalled:
            self.wfile.flush()
            server.stalled.wait()
        if server.cuts:
            server.cuts -= 1
            self.close_connection = True
            return
        server.sent += len(body) - half
        self.wfile.write(body[half:])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SURGICALFT_CACHE", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PIECE", 10_000)
    return tmp_path / "downloads"


@pytest.fixture
def archive(server, folder):
    url = f"http://127.0.0.1:{server.server_port}/files/toy.tar?download=1"
    checksum = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    return Archive(url, checksum, "https://example.org/toy", "400 kB")


def kept(folder):
    """The files in the folder that are not bookkeeping."""
    return sorted(f.name for f in folder.iterdir() if not f.name.startswith("."))


def test_downloaded_once(archive, server, folder):
    path = fetch(archive, LOOKED_FOR)
    assert path == folder / "toy.tar" and path.read_bytes() == CONTENT
    assert fetch(archive, LOOKED_FOR) == path
    assert server.asked == [None]
    assert kept(folder) == ["toy.tar"]


def test_a_broken_connection_is_resumed(archive, server):
    server.cuts = 3
    assert fetch(archive, LOOKED_FOR).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=200000-", "bytes=300000-", "bytes=350000-"]
    assert server.sent == len(CONTENT)


def test_a_server_without_ranges_starts_over(archive, server):
    server.cuts, server.ranges = 2, False
    assert fetch(archive, LOOKED_FOR).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=200000-", "bytes=200000-"]
    assert server.sent == 2 * len(CONTENT)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_later_call_resumes(archive, server, folder, ranges, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    server.cuts, server.ranges = 1, ranges
    with pytest.raises(
        FileNotFoundError, match=r"200,000 bytes in .*toy\.tar\.part will be resumed"
    ):
        fetch(archive, LOOKED_FOR)
    assert (folder / "toy.tar.part").read_bytes() == CONTENT[:200_000]
    assert kept(folder) == ["toy.tar.part"]
    assert fetch(archive, LOOKED_FOR).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=200000-"]
    assert server.sent == len(CONTENT) * (1 if ranges else 1.5)
    assert kept(folder) == ["toy.tar"]


def test_a_killed_download_is_resumed(archive, server, folder, tmp_path):
    server.stalled = threading.Event()
    code = f"from surgicalft.shifts.download import Archive, fetch; fetch({archive!r}, '')"
    process = subprocess.Popen([sys.executable, "-c", code])
    part = folder / "toy.tar.part"
    while not (part.is_file() and part.stat().st_size > 100_000):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = part.stat().st_size
    server.stalled.set()
    server.stalled = None
    assert fetch(archive, LOOKED_FOR).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={done}-"]


def test_a_part_that_was_complete_needs_no_download(archive, server, folder):
    folder.mkdir()
    (folder / "toy.tar.part").write_bytes(CONTENT)
    assert fetch(archive, LOOKED_FOR).read_bytes() == CONTENT
    assert server.sent == 0
    assert kept(folder) == ["toy.tar"]


def test_a_part_longer_than_the_file_is_thrown_away(archive, server, folder):
    folder.mkdir()
    (folder / "toy.tar.part").write_bytes(CONTENT + b"more")
    assert fetch(archive, LOOKED_FOR).read_bytes() == CONTENT
    assert server.asked == ["bytes=400004-", None]


def test_a_wrong_checksum_is_refused_and_nothing_kept(archive, server, folder):
    server.content = CONTENT[:-1] + b"!"
    message = r"toy\.tar\?download=1 is not what https://example\.org/toy describes: MD5 .* does not match"
    with pytest.raises(ValueError, match=message):
        fetch(archive, LOOKED_FOR)
    assert kept(folder) == []
    server.content = CONTENT
    assert fetch(archive, LOOKED_FOR).read_bytes() == CONTENT


def test_a_part_of_another_file_is_refused_then_forgotten(archive, server, folder):
    folder.mkdir()
    (folder / "toy.tar.part").write_bytes(bytes(1000))
    with pytest.raises(ValueError, match="does not match"):
        fetch(archive, LOOKED_FOR)
    assert kept(folder) == []
    assert fetch(archive, LOOKED_FOR).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


def test_a_file_put_there_by_hand_is_checked(archive, server, folder):
    folder.mkdir()
    (folder / "toy.tar").write_bytes(CONTENT[:1000])
    for _ in range(2):  # a refusal is not forgotten
        with pytest.raises(ValueError, match=r"toy\.tar has the md5 .*example\.org/toy states"):
            fetch(archive, LOOKED_FOR)
    assert (folder / "toy.tar").read_bytes() == CONTENT[:1000]
    (folder / "toy.tar").write_bytes(CONTENT)
    assert fetch(archive, LOOKED_FOR).read_bytes() == CONTENT
    assert server.asked == []


def test_a_file_that_changed_after_it_was_checked(archive, folder):
    fetch(archive, LOOKED_FOR).write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="Delete it to have it downloaded"):
        fetch(archive, LOOKED_FOR)


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_refuses(archive, server, folder, status):
    server.status = status
    message = (
        r"^toy: no toy/ in any data folder, and toy\.tar \(400 kB\) could not be downloaded \(HTTPError\)"
        r"\. Get it from https://example\.org/toy .*downloads\.$"
    )
    with pytest.raises(FileNotFoundError, match=message):
        fetch(archive, LOOKED_FOR)
    assert kept(folder) == []


def test_no_server_at_all(folder):
    nowhere = Archive("http://127.0.0.1:9/toy.tar", "md5:0", "https://example.org/toy", "1 kB")
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded \(ConnectionError\)"):
        fetch(nowhere, LOOKED_FOR)


def test_two_at_once_share_one_download(archive, server):
    got = []
    threads = [
        threading.Thread(target=lambda: got.append(fetch(archive, LOOKED_FOR))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_bytes() for path in got] == [CONTENT] * 2
    assert server.asked == [None]
