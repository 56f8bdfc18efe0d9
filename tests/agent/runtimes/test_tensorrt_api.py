"""Each name of TensorRT that the agent uses exists in every release, or is used only behind feature detection."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.runtimes import tensorrt_names as names
from tests.agent.runtimes.tensorrt.rtx import needs_rtx
from tests.agent.runtimes.tensorrt_guards import Declared
from tests.agent.runtimes.tensorrt_matrix import (
    ALL,
    BRANCHES,
    MODULE,
    MODULES,
    VERSIONS,
    installed_names,
    read,
    read_installed,
    read_wheel,
    spelled,
    unspelled,
)
from tests.agent.runtimes.tensorrt_uses import Package

ROOT = Path(__file__).parent.parent.parent.parent
RUNTIMES = ROOT / "hil" / "agent" / "runtimes"
SOURCES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((RUNTIMES / "tensorrt").glob("*.py"))}
MATRIX = read()

DECLARED = {
    "label == 'named'": Declared(
        "ICudaEngine.num_io_tensors",
        "ICudaEngine.num_bindings",
        "tensors.choose returns a label only where hasattr finds its interface, and refuses an engine without it",
    ),
    "api.calibrator_class(trt, algorithm)": Declared(
        "tensorrt.IInt8EntropyCalibrator2",
        "tensorrt.ILogger",
        "getattr with a name from a table, which test_names_in_tables_are_real checks",
    ),
}
"""Conditions that imply feature detection elsewhere."""

OURS = {
    "allocate": "of our allocator of outputs",
    "flags": "of numpy: whether an array is contiguous",
    "free": "of our device and page-locked buffers",
    "sticky": "of our CudaError",
    "update": "of hashes, sets and dicts",
    "getattr(trt.BuilderFlag, name)": "precision.flags_for returns flags that the release has, or refuses",
}
"""Attributes that are not TensorRT's, where our code uses them on an object of unknown class."""


def problems(source: str, *, module: str = "snippet", **others: str) -> list[str]:
    """Return the problems in a snippet."""
    package = Package({module: source, **others}, MATRIX, DECLARED, OURS)
    return [finding.what for finding in package.findings()]


def test_every_name_exists_everywhere_or_is_detected() -> None:
    """No use of TensorRT's API can be reached under a release that lacks it."""
    package = Package(SOURCES, MATRIX, DECLARED, OURS)
    assert not [str(finding) for finding in package.findings()]
    assert package.conditions.used == set(DECLARED), "a declared condition no longer occurs"
    assert package.spared == set(OURS), "an exemption is no longer needed"


@pytest.mark.parametrize("requested", ["auto", "named", "bindings"])
def test_labels_match_the_interface(requested: str) -> None:
    """``choose`` returns only an interface that the engine has, and fails if the requested one is missing."""
    tensors = importlib.import_module("hil.agent.runtimes.tensorrt.tensors")
    failure = importlib.import_module("hil.agent.failure")
    for attribute, label in (("num_io_tensors", "named"), ("num_bindings", "bindings")):
        engine = SimpleNamespace(**{attribute: 1})
        if requested in {"auto", label}:
            assert tensors.choose(engine, requested) == label
        else:
            with pytest.raises(failure.Failure):
                tensors.choose(engine, requested)


def test_names_in_tables_are_real() -> None:
    """Every name in the agent's tables of types, flags and calibrators exists in TensorRT's API."""
    api = importlib.import_module("hil.agent.runtimes.tensorrt.api")
    precision = importlib.import_module("hil.agent.runtimes.tensorrt.precision")
    assert set(api.NAMES) <= set(MATRIX.classes["DataType"])
    assert set(precision.TENSOR.values()) <= set(MATRIX.classes["DataType"])
    assert set(precision.FLAG.values()) <= set(MATRIX.classes["BuilderFlag"])
    assert set(api.CALIBRATORS.values()) <= set(MATRIX.classes[MODULE])


WRONG = {
    "a flag removed in 11": "config.set_flag(trt.BuilderFlag.FP16)",
    "a removed flag with the name of a type in every release": "x = trt.BuilderFlag.INT8",
    "a method added in 8.5": "context.set_input_shape(name, shape)",
    "a method removed in 10": "engine.get_binding_name(0)",
    "on an object of unknown class": "x.y.execute_async_v3(0)",
    "a removed property that is set": "config.max_workspace_size = 1",
    "a name in no release": "trt.Bilder(log)",
    "an enum member in no release": "trt.BuilderFlag.FP61",
    "behind the detection of another name": "if hasattr(engine, 'num_io_tensors'): engine.device_memory_size_v2",
    "in the branch without the name": "if hasattr(engine, 'num_io_tensors'): engine.num_bindings",
    "after both branches": "if hasattr(engine, 'num_io_tensors'):\n    pass\nengine.num_io_tensors",
    "behind or instead of and": "x = hasattr(engine, 'num_io_tensors') or engine.num_io_tensors",
    "getattr without a default": "getattr(trt.BuilderFlag, 'FP16')",
    "getattr with a computed name": "getattr(engine, name)",
    "setattr of a name added later": "setattr(config, 'builder_optimization_level', 5)",
    "hasattr of a misspelt name": "x = hasattr(engine, 'num_io_tensor')",
    "getattr of a misspelt name with a default": "x = getattr(engine, 'device_memory_size_v3', None)",
    "hasattr on the wrong class": "x = hasattr(trt.ICudaEngine, 'set_input_shape')",
    "names imported one by one": "from tensorrt import Builder",
    "the module imported under another name": "import tensorrt as rt",
    "a subclass without a method that TensorRT calls": (
        "if hasattr(trt, 'IOutputAllocator'):\n    class A(trt.IOutputAllocator):\n        def realocate(self): pass"
    ),
    "in a function that is also reached without detection": (
        "def bound(engine): return engine.num_bindings\n"
        "def a(engine):\n    if hasattr(engine, 'num_bindings'): return bound(engine)\n"
        "def b(engine): return bound(engine)"
    ),
    "in a class that is created without detection": (
        "class Named:\n    def run(self, context): context.execute_async_v3(0)\ndef make(): return Named()"
    ),
    "after a function that does not always raise": (
        "def need(config):\n    if config and not hasattr(config, 'int8_calibrator'):\n        raise ValueError\n"
        "def f(config):\n    need(config)\n    config.int8_calibrator = None"
    ),
    "a false value is not a missing one": (
        "def f(engine):\n    size = getattr(engine, 'device_memory_size_v2', None)\n"
        "    return size if size else engine.device_memory_size"
    ),
    "getattr with a true default": (
        "def f(engine):\n    x = getattr(engine, 'num_io_tensors', True)\n    if x: engine.num_io_tensors"
    ),
    "a private method that is also called without detection": (
        "class A:\n    def run(self, trt, engine):\n        if hasattr(engine, 'num_bindings'): self._bound(engine)\n"
        "    def go(self, engine): return self._bound(engine)\n"
        "    def _bound(self, engine): return engine.num_bindings"
    ),
    "a private method without a call": "class A:\n    def _bound(self, engine): return engine.num_bindings",
    "a closure defined before the detection": (
        "def a(engine):\n    def b(): return engine.num_io_tensors\n    if hasattr(engine, 'num_io_tensors'): return b"
    ),
}
RIGHT = {
    "a name in every release": "builder.create_builder_config()\nconfig.set_flag(trt.BuilderFlag.TF32)",
    "behind its own detection": "if hasattr(engine, 'num_io_tensors'): engine.num_io_tensors",
    "behind detection of a name of the same release": (
        "if hasattr(trt.ICudaEngine, 'num_io_tensors'): context.execute_async_v3(0)"
    ),
    "in the branch without a newer name": (
        "if hasattr(config, 'set_memory_pool_limit'): pass\nelse: config.max_workspace_size = 1"
    ),
    "after a return": "def f(config):\n    if not hasattr(config, 'builder_optimization_level'):\n        return\n"
    "    config.builder_optimization_level = 5",
    "in a conditional expression": (
        "x = engine.num_io_tensors if hasattr(engine, 'num_io_tensors') else engine.num_bindings"
    ),
    "behind and": "x = hasattr(engine, 'num_io_tensors') and engine.num_io_tensors",
    "getattr with a default": "x = getattr(trt.BuilderFlag, 'BF16', None)",
    "getattr compared with None": (
        "def f(engine):\n    size = getattr(engine, 'device_memory_size_v2', None)\n"
        "    return engine.device_memory_size if size is None else size"
    ),
    "detection in a variable": (
        "def f(engine):\n    x = hasattr(engine, 'num_io_tensors')\n    if x: engine.num_io_tensors"
    ),
    "detection in an attribute": (
        "class A:\n    def __init__(self, trt): self._named = hasattr(trt.ICudaEngine, 'num_io_tensors')\n"
        "    def run(self, context):\n        if self._named: context.execute_async_v3(0)"
    ),
    "detection in a function": (
        "def named(trt):\n    'Whether.'\n    return hasattr(trt.ICudaEngine, 'num_io_tensors')\n"
        "def run(trt, context):\n    if named(trt): context.execute_async_v3(0)"
    ),
    "in a function that is only called after detection": (
        "def bound(engine): return engine.num_bindings\n"
        "def a(engine):\n    if hasattr(engine, 'num_bindings'): return bound(engine)"
    ),
    "in a class that is only created after detection": (
        "class Named:\n    def run(self, context): context.execute_async_v3(0)\n"
        "def make(trt): return Named() if hasattr(trt.ICudaEngine, 'num_io_tensors') else None"
    ),
    "after a function that raises without the name": (
        "def need(config):\n    if not hasattr(config, 'int8_calibrator'):\n        raise ValueError\n"
        "def f(config):\n    need(config)\n    config.int8_calibrator = None"
    ),
    "in a private method that is only called after detection": (
        "class A:\n    def run(self, trt, engine):\n        if hasattr(engine, 'num_bindings'): self._bound(engine)\n"
        "    def _bound(self, engine): return engine.num_bindings"
    ),
    "names that are not TensorRT's": "buffer.free()\nimport numpy as np\nnp.float16\n'x'.format()",
}


@pytest.mark.parametrize("source", WRONG.values(), ids=WRONG)
def test_an_unavailable_name_is_reported(source: str) -> None:
    """The check reports a use that some release cannot satisfy."""
    assert problems(source)


@pytest.mark.parametrize("source", RIGHT.values(), ids=RIGHT)
def test_a_detected_name_is_accepted(source: str) -> None:
    """The check accepts names that exist everywhere or are detected."""
    assert not problems(source)


def test_functions_of_other_modules_are_followed() -> None:
    """A condition that calls another module's function counts exactly if that function is feature detection."""
    api = "def named(trt): return hasattr(trt.ICudaEngine, 'num_io_tensors')\ndef other(trt): return trt.__version__"
    use = "from . import api\ndef f(trt, context):\n    if api.{}(trt): context.execute_async_v3(0)"
    assert not problems(use.format("named"), api=api)
    assert problems(use.format("other"), api=api)


def test_the_matrix_equals_the_module_s_names() -> None:
    """The names read from the sources of 8.6 are exactly those of the module 8.6.0."""
    version, installed = read_installed()
    assert version == "8.6.0"
    matrix_names = {
        owner: {name for name, versions in named.items() if "8.6" in versions}
        for owner, named in MATRIX.classes.items()
    }
    aliases = {"ResizeMode", "SliceMode"}
    assert {owner: named for owner, named in matrix_names.items() if named} == {
        owner: named for owner, named in installed.items() if named
    }
    assert aliases <= installed[MODULE]


KNOWN = {
    (MODULE, "Builder"): "*",
    ("ICudaEngine", "num_io_tensors"): "8.5-rtx1.7",
    ("ICudaEngine", "num_bindings"): "8.2-8.6",
    ("IExecutionContext", "execute_async_v3"): "8.5-rtx1.7",
    ("IExecutionContext", "execute_v2"): "*",
    ("IBuilderConfig", "set_memory_pool_limit"): "8.4-rtx1.7",
    ("IBuilderConfig", "max_workspace_size"): "8.2-8.6",
    ("IBuilderConfig", "builder_optimization_level"): "8.6-rtx1.7",
    ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"): "8.2-10.16",
    ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"): "10.0-rtx1.7",
    ("BuilderFlag", "FP16"): "8.2-10.16",
    ("BuilderFlag", "BF16"): "10.0-10.16",
    (MODULE, "IInt8EntropyCalibrator2"): "8.2-10.16",
    ("ICudaEngine", "device_memory_size"): "8.2-10.16",
    ("ICudaEngine", "device_memory_size_v2"): "10.3-rtx1.7",
    ("Builder", "num_DLA_cores"): "*",
}
"""From the release notes and the migration guides, to check the extraction."""


@pytest.mark.parametrize(("owner", "name"), KNOWN)
def test_the_matrix_agrees_with_the_guides(owner: str, name: str) -> None:
    """Names whose history is in the migration guides exist in exactly those releases."""
    assert spelled(MATRIX.classes[owner][name]) == KNOWN[owner, name]


def test_every_release_has_its_source() -> None:
    """Each release has the branch and the commit that its names were read from, or the module and its version."""
    for version in BRANCHES:
        branch, commit = MATRIX.sources[version].split()
        assert branch == f"release/{version}"
        assert len(commit) == 40
    for version, module in MODULES.items():
        name, exact = MATRIX.sources[version].split()
        assert name == module
        assert exact.startswith(version.removeprefix("rtx"))


def test_the_names_of_wheels_are_in_the_matrix() -> None:
    """For releases without public sources, the matrix has exactly the names that their modules have."""
    for version in MODULES:
        matrix_names = {
            owner: {name for name, versions in named.items() if version in versions}
            for owner, named in MATRIX.classes.items()
        }
        assert {owner: named for owner, named in matrix_names.items() if named} == {
            owner: named for owner, named in read_wheel(version)[1].items() if named
        }


@needs_rtx
def test_the_installed_module_has_the_names_of_its_column() -> None:
    """If the installed TensorRT-RTX is 1.7, its module has exactly the names in the column ``rtx1.7``."""
    version, installed = installed_names(MODULES["rtx1.7"])
    if not version.startswith("1.7."):
        pytest.skip(f"TensorRT-RTX {version} is installed")
    assert {owner: named for owner, named in installed.items() if named} == {
        owner: named for owner, named in read_wheel("rtx1.7")[1].items() if named
    }


@given(st.sets(st.sampled_from(VERSIONS)))
def test_releases_are_written_and_read(versions: set[str]) -> None:
    """Any set of releases is read back as it was written."""
    assert unspelled(spelled(versions)) == versions
    assert spelled(ALL) == "*"


BINDINGS = """
py::class_<IBase> base{m, "Base", Doc::descr};
py::enum_<IBase::Level>(base, "Level", Doc::level) // .value("COMMENT", 1)
    .value("LOW", 0).value("HIGH", 1)
    .export_values();
base.def(py::init<>()).def("run", [](IBase& self) { return ".def(\\"string\\")"; });
py::class_<Derived, IBase, PyDerived>(m, "Derived")
    .def_property("size", &a, &b)
#if ENABLE_INETWORK_SERIALIZE
    .def("secret", &c)
#else
    .def_static("make", &d);
#endif
py::function f = utils::getOverride(static_cast<IBase*>(this), "called");
m.attr("alias") = m.attr("Base");
"""


def test_bindings_are_read() -> None:
    """Classes, enums, inheritance, exported values, chains on variables and macros are read as by a compiler."""
    read_names = names.Names()
    names.read_cpp(BINDINGS, read_names)
    assert read_names.classes[MODULE].names == {"Base", "Derived", "alias"}
    assert read_names.all_of("Level") == {"LOW", "HIGH", "name"}
    assert read_names.all_of("Derived") == {"size", "make", "run", "Level", "LOW", "HIGH"}
    assert read_names.callbacks == {("IBase", "called")}
    assert not read_names.unread


def test_unread_names_are_reported() -> None:
    """A name that belongs to no known class is not ignored."""
    read_names = names.Names()
    names.read_cpp('elsewhere().def("lost", &x);', read_names)
    assert read_names.unread == ["lost"]
