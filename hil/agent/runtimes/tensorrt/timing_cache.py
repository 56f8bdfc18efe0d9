"""How fast each kernel was in earlier builds; a cache that TensorRT does not take costs time, never correctness."""

from typing import Any, NamedTuple, Optional

from . import digest_file


class Attached(NamedTuple):
    """``state``: none (nowhere to keep one), cold, warm, partly, or refused (there was one that could not be used).

    ``told`` is TensorRT's error where it took the cache in part.
    """

    state: str
    cache: Any
    told: str = ""


def attach(config: Any, path: Optional[str], log: Any) -> Attached:
    """Gives the config the cache kept at ``path``, or an empty one that ``keep`` writes there.

    TensorRT 8.5 and 8.6 may log an error about Myelin's part of a cache, and take the rest: ``log`` tells.
    """
    if path is None:
        return Attached("none", None)
    state = "cold"
    try:
        content = digest_file.read(path)
    except ValueError:
        content, state = None, "refused"
    before = log.errors()
    if content:
        cache = config.create_timing_cache(content)
        # False: a cache of another version or GPU is to be refused, not taken with a warning.
        if cache is not None and config.set_timing_cache(cache, False):  # noqa: FBT003 - bindings before 8.4 name it otherwise
            told = log.errors()
            return Attached("warm", cache) if told == before else Attached("partly", cache, told)
        state = "refused"
    empty = config.create_timing_cache(b"")
    if empty is None or not config.set_timing_cache(empty, False):  # noqa: FBT003 - as above
        return Attached("none" if state == "cold" else state, None)
    return Attached(state, empty)


def keep(config: Any, path: Optional[str], attached: Attached) -> bool:
    """Writes what the build has learnt; whether it did."""
    if path is None or attached.cache is None:
        return False
    cache = config.get_timing_cache()
    content = None if cache is None else cache.serialize()
    return content is not None and digest_file.write(path, memoryview(content))
