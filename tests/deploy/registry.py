"""A registry with the image of one archive; it supports only pulls by digest."""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OCI = "application/vnd.oci.image"


@contextmanager
def served(archive: Path) -> Iterator[str]:
    """Serve the image of an archive of ``podman save``; yield its reference ``HOST:PORT/robot@sha256:…``."""
    blobs, digest = _blobs(archive)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, name = self.path.removeprefix("/v2/robot/").partition("/")
            body = blobs.get(name, b"") if kind in {"manifests", "blobs"} else b""
            self.send_response(200 if body or self.path == "/v2/" else 404)
            media_type = f"{OCI}.manifest.v1+json" if kind == "manifests" else "application/octet-stream"
            self.send_header("Content-Type", media_type)
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
        yield f"127.0.0.1:{server.server_port}/robot@{digest}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _blobs(archive: Path) -> tuple[dict[str, bytes], str]:
    """Return the image's OCI manifest, config and layers by digest, and the manifest's digest."""
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member) for member in tar.getmembers() if not member.isdir()}
        members = {name: file.read() for name, file in files.items() if file is not None}
    (listed,) = json.loads(members["manifest.json"])
    blobs: dict[str, bytes] = {}

    def descriptor(content: bytes, kind: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        blobs[digest] = content
        return {"mediaType": f"{OCI}.{kind}", "digest": digest, "size": len(content)}

    config = descriptor(members[listed["Config"]], "config.v1+json")
    layers = [descriptor(members[name], "layer.v1.tar") for name in listed["Layers"]]
    manifest = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", "config": config, "layers": layers}
    digest = descriptor(json.dumps(manifest).encode(), "manifest.v1+json")["digest"]
    return blobs, digest
