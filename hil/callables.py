"""Import callables of the user, written ``package.module:callable``, from the folder of ``hil.toml``."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from hil.config.data_sources import is_callable
from hil.errors import HilError, UserError
from hil.onnx_files.imported_modules import digest_of_modules, modules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class UserCallable:
    """A callable of the user.

    ``digest`` covers the callable's module and the project's modules that this module imports. ``model`` is the name of
    the model that uses the callable; messages quote it.
    """

    name: str
    model: str
    function: Callable[..., Any]
    digest: str

    def __call__(self, *arguments: Any) -> Any:
        """Return what the function returns. If it raises an exception, raise ``UserError`` as ``blamed`` does."""
        with self.blamed():
            return self.function(*arguments)

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Convert an exception of the user's code in this context to a ``UserError`` that names the callable.

        A ``HilError`` is raised unchanged.
        """
        try:
            yield
        except HilError:
            raise
        except (Exception, SystemExit) as error:
            raise UserError(
                f"{self.name} raised {_error_text(error)}: model {self.model}: fix this function; "
                "a call outside of hil shows the whole error"
            ) from error


def load_callable(name: str, root: Path, *, model: str, where: str) -> UserCallable:
    """Import and return the callable ``name`` (``package.module:callable``) that the model ``model`` uses.

    The module is searched in ``root``, the folder of ``hil.toml``, before ``sys.path``. ``where`` is the place of
    ``name`` in the config (``hil.toml:12``), for messages.

    Raise ``UserError`` if ``name`` is malformed, cannot be imported or is not callable, or if another module of the
    same name was imported before.
    """
    if not is_callable(name):
        raise UserError(f"{where}: {name!r} is not written as package.module:callable: model {model}")
    module_name, _, attribute = name.partition(":")
    module = _import(module_name, root, f"{where}: {name}", model)
    function: Any = module
    for part in attribute.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        raise UserError(f"{where}: {name}: {module_name} has no callable {attribute!r}: model {model}: check its name")
    return UserCallable(name, model, function, digest_of_modules(modules_of(module_name, root, model)))


def _import(name: str, root: Path, what: str, model: str) -> Any:
    before = list(sys.path)
    sys.path.insert(0, str(root))
    try:
        module = import_module(name)
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{what} cannot be imported ({_error_text(error)}): model {model}: check the name, or import it in Python"
        ) from error
    finally:
        sys.path[:] = before
    expected = root.joinpath(*name.split("."))
    origin = getattr(module, "__file__", None)
    sources = [path for path in (expected.with_suffix(".py"), expected / "__init__.py") if path.is_file()]
    if origin and sources and not any(path.samefile(origin) for path in sources):
        raise UserError(
            f"{what}: another module {name} ({origin}) was imported first: model {model}: rename {sources[0]}"
        )
    return module


def _error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
