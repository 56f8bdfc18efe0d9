"""A session with a target: hold -> provision -> run -> measure -> judge. Works without pytest."""

from hil.session.core import Session
from hil.session.engines.engines import EngineHandle
from hil.session.request import Request

__all__ = ["EngineHandle", "Request", "Session"]
