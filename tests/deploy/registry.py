"""A registry with the image of one OCI layout; it supports only pulls by digest."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def served(layout: Path) -> Iterator[str]:
    """Serve the image in ``layout``; yield its reference ``HOST:PORT/robot@sha256:…``."""
    (listed,) = json.loads((layout / "index.json").read_text(encoding="utf-8"))["manifests"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, name = self.path.removeprefix("/v2/robot/").partition("/")
            place = layout / "blobs/sha256" / name.removeprefix("sha256:")
            is_blob = kind in {"manifests", "blobs"} and place.is_file()
            body = place.read_bytes() if is_blob else b""
            exists = is_blob or self.path == "/v2/"
            self.send_response(200 if exists else 404)
            self.send_header("Content-Type", listed["mediaType"] if kind == "manifests" else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - the server's name

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}/robot@{listed['digest']}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
