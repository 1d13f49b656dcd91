"""A Hub on this machine: an HTTP server with the few addresses that huggingface_hub asks, so that its own code runs."""

import hashlib
import json
import re
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "d" * 40


class FakeHub:
    """Repositories as folders: ``repositories[id][revision]``. ``served`` lists what was downloaded, in order."""

    def __init__(self):
        self.repositories: dict[str, dict[str, Path]] = {}
        self.served: list[str] = []
        self.ranges: list[str] = []
        self.break_at: int | None = None  # the next long file breaks off after so many bytes, once
        self.down_after_break = self.down = False  # nothing of a long file is sent any more
        self.stops_at: int | None = None  # the long file of this number closes the gate
        self.n_long = 0
        self.gate = threading.Event()  # while it is clear, long files stop after their first kilobyte
        self.gate.set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def add(self, hub_id: str, folder: Path, revision: str = "main") -> Path:
        self.repositories.setdefault(hub_id, {})[revision] = folder
        return folder

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def commit(self, hub_id: str, revision: str) -> str:
        """A commit for each revision, which is itself accepted as a revision."""
        return hashlib.sha1(f"{hub_id}@{revision}".encode()).hexdigest()

    def folder(self, hub_id: str, revision: str) -> tuple[str, Path] | None:
        for name, folder in self.repositories.get(hub_id, {}).items():
            if revision in (name, self.commit(hub_id, name)):
                return self.commit(hub_id, name), folder
        return None

    def _handler(hub):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def handle(self):
                with suppress(ConnectionError):  # the other side has gone, as a cancelled download does
                    super().handle()

            def do_HEAD(self):
                self.answer(body=False)

            def do_GET(self):
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                path = self.path.split("?")[0]
                if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)/refs", path):
                    branches = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": COMMIT}
                                for name in hub.repositories[match[1]]]  # fmt: skip
                    return self.json({"branches": branches, "converts": [], "tags": []})
                if match := re.fullmatch(r"/api/models/([\w.-]+/[\w.-]+)(?:/(revision|tree)/([^/]+))?", path):
                    return self.about(match[1], match[2], match[3] or "main")
                if match := re.fullmatch(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", path):
                    return self.file(match[1], match[2], match[3], body)
                return self.error("RepoNotFound")

            def about(self, hub_id: str, what: str | None, revision: str) -> None:
                if hub_id not in hub.repositories:
                    return self.error("RepoNotFound")
                there = hub.folder(hub_id, revision)
                if there is None:
                    return self.error("RevisionNotFound")
                commit, folder = there
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                named = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]
                if what == "tree":
                    return self.json([{"type": "file", "path": n, "size": s, "oid": "0"} for n, s in named])
                siblings = [{"rfilename": n, "size": s, "blobId": "0"} for n, s in named]
                return self.json({"id": hub_id, "sha": commit, "siblings": siblings})

            def file(self, hub_id: str, revision: str, name: str, body: bool) -> None:
                there = hub.folder(hub_id, revision)
                if there is None or not (there[1] / name).is_file():
                    return self.error("EntryNotFound")
                data = (there[1] / name).read_bytes()
                if hub.down and body and len(data) > 4096:
                    self.close_connection = True
                    return None
                start = int(match[1]) if (match := re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))) else 0
                self.send_response(206 if start else 200)
                self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("X-Repo-Commit", there[0])
                if start:
                    hub.ranges.append(name)
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(data) - start))
                self.end_headers()
                if body:
                    hub.served += [name] if not start else []
                    self.send(data[start:])
                return None

            def send(self, data: bytes) -> None:
                long = len(data) > 4096
                hub.n_long += long
                if long and hub.n_long == hub.stops_at:
                    hub.gate.clear()
                if long and not hub.gate.is_set():
                    self.wfile.write(data[:1024])
                    self.wfile.flush()
                    hub.gate.wait(20)
                    data = data[1024:]
                if long and hub.break_at is not None:
                    data, hub.break_at = data[: hub.break_at], None
                    self.close_connection, hub.down = True, hub.down_after_break
                try:
                    self.wfile.write(data)
                except OSError:  # the other side has gone, as a cancelled download does
                    self.close_connection = True

            def json(self, value: object) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def error(self, code: str) -> None:
                self.send_response(404)
                self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "0")
                self.end_headers()

        return Handler
