"""An agent whose frames are well formed, but not their content. Arguments: its digest, and the name of the defect."""

from __future__ import annotations

import os
import sys
from typing import Any

from hil.agent import PROTOCOL
from hil.agent.protocol.channel import Channel
from hil.agent.protocol.wire import WireError

HELLO = {
    "hello": {"protocol": PROTOCOL, "agent": sys.argv[1], "python": "3", "executable": "x", "store": "/", "pid": 1}
}
GREETINGS: dict[str, dict[str, Any]] = {
    "hello-list": {"hello": [1]},
    "error-number": {"error": 5},
    "error-list": {"error": ["a"]},
}
ENGINE = {"key": "0" * 64, "size": 10, "seconds": 1, "log": "", "cached": False, "facts": {"runtime_version": "1"}}
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
OFFERS = {"have": False, "like": False, "prefix": EMPTY}
ANSWERS: dict[str, dict[str, Any]] = {
    "no-error": {"error": 5},
    "nothing": {"ok": {}},
    "negative": {"ok": {**OFFERS, "offset": -7}},
    "beyond": {"ok": {**OFFERS, "offset": 1 << 40}},
    "word": {"ok": {**OFFERS, "offset": "x"}},
    "outside": {"ok": {**ENGINE, "digest": "x/../../../escaped" + "0" * 46}},
    "no-size": {"ok": {**ENGINE, "digest": "0" * 64, "size": 1 << 60}},
    "huge": {"ok": {"size": 1 << 60}},
    "short": {"ok": {"size": 10}},
    "long": {"ok": {"size": 1 << 20}},
    "arrays": {"ok": {}, "arrays": 7},
}
BODIES = {"huge": 1 << 20, "short": 3, "long": 3 << 20}


def main() -> None:
    """Send a greeting, and the same answer to every request."""
    defect = sys.argv[2]
    frames = os.dup(1)
    os.dup2(2, 1)
    channel = Channel(0, frames)
    channel.send(GREETINGS.get(defect, HELLO))
    while True:
        try:
            request = channel.receive()
            channel.drain()
        except WireError:
            return
        if "id" in request:
            channel.send({"id": request["id"], **ANSWERS[defect]}, bytes(BODIES.get(defect, 0)))


if __name__ == "__main__":
    main()
