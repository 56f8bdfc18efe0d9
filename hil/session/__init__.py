"""A session: hold a target, build engines on it, run and measure them there, and judge the rows. Needs no pytest."""

from hil.session.core import Session
from hil.session.engines.engines import EngineHandle
from hil.session.request import Request

__all__ = ["EngineHandle", "Request", "Session"]
