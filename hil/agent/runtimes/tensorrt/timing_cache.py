"""The timing cache: kernel times of earlier builds. If TensorRT rejects it, a build takes longer and stays correct."""

from typing import Any, NamedTuple, Optional

from . import digest_file

DROPPED = "Returning an empty timing cache"  # TensorRT-RTX 1.7.1 warns of it, and the empty cache is accepted


class Attached(NamedTuple):
    """The timing cache that a build uses; ``cache`` is None if the build uses none.

    ``state`` states what happened to the earlier cache:
        none: there is no path, or TensorRT cannot create a cache.
        cold: there was no earlier cache.
        warm: it is used.
        partly: a part of it is used; ``error`` is TensorRT's error about the rest.
        refused: it is damaged, or TensorRT refused it or used an empty one instead.
    """

    state: str
    cache: Any
    error: str = ""


def attach(config: Any, path: Optional[str], log: Any) -> Attached:
    """Attach to ``config`` the timing cache at ``path``, and return what was attached.

    A missing or unusable cache is replaced by an empty one; if ``path`` is None, none is attached. ``log`` is
    TensorRT's log.
    """
    if path is None:
        return Attached("none", None)
    state = "cold"
    try:
        content = digest_file.read(path)
    except ValueError:
        content, state = None, "refused"
    before, earlier = log.errors(), log.warnings()
    if content:
        cache = config.create_timing_cache(content)
        # False: refuse a cache of another version or GPU instead of accepting it with a warning.
        if cache is not None and config.set_timing_cache(cache, False):  # noqa: FBT003 - bindings before 8.4 name it otherwise
            errors = log.errors()
            if any(DROPPED in line for line in log.warnings() if line not in earlier):
                return Attached("refused", cache)
            return Attached("warm", cache) if errors == before else Attached("partly", cache, errors)
        state = "refused"
    empty = config.create_timing_cache(b"")
    if empty is None or not config.set_timing_cache(empty, False):  # noqa: FBT003 - as above
        return Attached("none" if state == "cold" else state, None)
    return Attached(state, empty)


def save(config: Any, path: Optional[str], attached: Attached) -> bool:
    """Store the updated cache at ``path``; return whether it was stored."""
    if path is None or attached.cache is None:
        return False
    cache = config.get_timing_cache()
    content = None if cache is None else cache.serialize()
    return content is not None and digest_file.write(path, memoryview(content))
