from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import TargetSpec
from hil.doctor import Finding, examine
from hil.doctor.examine import trouble
from hil.doctor.findings import STATES
from hil.session.target.board_match import confirm
from tests.boards.generations import GENERATIONS, facts_of

GPU = {"gpu": "Orin", "sm": "8.7", "sms": "8", "cuda": "12.6", "dla": "2"}
HOLDER = {"who": "ci (pid 7)", "host": "runner-2", "since": "2026-01-01 00:00:00 UTC"}


def ready(generation: str = "jp62") -> dict[str, Any]:
    """The facts of a board on which nothing is wrong, under TensorRT."""
    told = facts_of(generation)
    modes = told["power_modes"]["modes"]
    node = {"path": "/dev/nvhost-gpu", "group": {"number": 44, "name": "video"}, "usable": True}
    boot = dict(line.split(" ", 1) for line in told["etc"].get("nv_boot_control.conf", []))
    board = {
        "compatible": told["compatible"],
        "model": told["model"],
        "serial": told["serial"],
        "nv_tegra_release": "\n".join(told["etc"]["nv_tegra_release"]),
        "packages": told["packages"],
        "boot_control": boot,
        "memory_total": told["memory_kib"] * 1024,
        "cuda": {"toolkit": "12.6.68", "source": "/usr/local/cuda/version.json"},
        "devices": [node],
        "container": "none",
        "libraries": {"nvinfer": "10.3.0.30", "cudnn": "9.3.0"},
        "cuinit": {"code": 0, "error": None},
        "power_modes": [{"id": one["id"], "name": one["name"], "tpc_mask": None} for one in modes],
        "power_mode": modes[0]["name"],
        "not_readable": {},
    }
    state = {
        "power_mode": modes[0]["name"],
        "clocks": {"gpu": {"min": 306000000, "max": 612000000}, "policy0": {"min": 1000000, "max": 2000000}},
        "locked": False,
        "temperature": {"gpu-thermal": 45.0},
        "throttle": {"gpu-throttle-alert": 0},
        "over_current": {"oc1": 0, "oc3": 2},
        "gpu_clients": [],
        "swap_used": 0,
        "memory_available": 8 << 30,
        "not_readable": {},
    }
    return {
        "holder": None,
        "account": {"name": "hil", "uid": 1000},
        "store": {"path": "/home/hil/s", "place": "/home/hil/s", "used": 0, "writable": True, "free": 64 << 30},
        "helper": {"installed": True, "answers": True, "wants": 1, "services": ["perception"], "why_not": None},
        "board": board,
        "state": state,
        "machine": "aarch64",
        "hostname": "rover",
        "kernel": "5.15",
        "memory": {"total": told["memory_kib"] * 1024},
        "python": "3.10.12",
        "executable": "/usr/bin/python3",
        "prefix": ["/usr", "/usr"],
        "there": {"numpy": True, "tensorrt": True},
        "numpy": "1.21.5",
        "runtimes": {"tensorrt": "10.3.0"},
        "facts": {"tensorrt": GPU},
        "why_not": {},
        "tegrastats": {"works": True, "why": None},
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """The facts of ``ready`` with one of them another."""
    found = ready()
    *keys, last = path.split(".")
    table = found
    for key in keys:
        table = table[key]
    table[last] = value
    return found


def spec(**keys: Any) -> TargetSpec:
    """The target of a board under TensorRT."""
    return TargetSpec(**{"kind": "ssh", "host": "rover", "runtime": "tensorrt", "board": "orin-nx-16gb", **keys})


def of(what: str, found: list[Finding]) -> Finding:
    """The one finding about ``what``."""
    [one] = [each for each in found if each.what == what]
    return one


def look(facts: dict[str, Any], ahead: float | None = 0.0, **keys: Any) -> list[Finding]:
    """The findings on target ``rover``."""
    return examine("rover", spec(**keys), facts, ahead)


def test_a_board_on_which_nothing_is_wrong() -> None:
    """Every line is fine, and none asks for anything."""
    found = look(ready())
    assert {(one.what, one.state, one.mend) for one in found if one.state != "ok" or one.mend} == set()
    assert {"board", "serial", "jetpack", "driver", "store", "root helper", "power mode"} <= {one.what for one in found}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_each_generation_is_known(generation: str) -> None:
    """By the same facts as a session goes by."""
    found = look(ready(generation), board=None)
    assert of("board", found).found.startswith({"jp46": "nano-4gb", "jp62": "orin-nx-16gb"}.get(generation, ""))
    assert of("jetpack", found).state == "ok"


OTHERS = [{"pid": 812, "name": "perception"}]
BAD = [
    ("board.compatible", None, "board", "hil probe rover --json"),
    ("numpy", None, "numpy", "sudo apt-get install python3-numpy"),
    ("runtimes.tensorrt", None, "TensorRT", "sudo apt-get install python3-libnvinfer"),
    ("board.libraries.nvinfer", None, "libnvinfer", "sudo apt-get install nvidia-jetpack"),
    ("board.cuinit", {"code": 100, "error": "CUDA_ERROR_NO_DEVICE"}, "driver", "sudo reboot"),
    ("board.cuinit", None, "driver", "sudo apt-get install --reinstall nvidia-l4t-cuda"),
    ("store.writable", False, "store", "sudo chown hil /home/hil/s"),
    ("store.free", 1 << 20, "store", "df -h /home/hil/s"),
    ("state.throttle", {"gpu-throttle-alert": 1}, "throttling", "fan"),
    ("state.gpu_clients", OTHERS, "GPU clients", 'gpu_clients = ["perception", "planner"]'),
    ("state.gpu_clients", OTHERS, "GPU clients", "sudo kill 812"),
]


@pytest.mark.parametrize(("path", "value", "what", "mend"), BAD)
def test_what_stops_a_session_is_bad_and_has_its_mend(path: str, value: Any, what: str, mend: str) -> None:
    """One thing wrong, one line bad, with the command."""
    one = of(what, look(changed(path, value), gpu_clients=("planner",)))
    assert one.state == "bad"
    assert mend in one.mend


def test_others_on_the_gpu_are_no_fault_where_nothing_is_declared() -> None:
    """A session tells of them and goes on: a desktop's own would stop every run."""
    assert of("GPU clients", look(changed("state.gpu_clients", OTHERS))).state == "warn"


DECLARED = [
    ({"board": "agx-orin-64gb"}, "board", 'board = "orin-nx-16gb"'),
    ({"serial": "1"}, "serial", 'serial = "1422323047219"'),
    ({"power_mode": "15W"}, "power mode", "sudo nvpmodel -m 2"),
    ({"power_mode": "15 W"}, "power mode", "write one of MAXN_SUPER, 10W"),
    ({"stop_services": ("robot",)}, "root helper", "hil board setup rover --service perception --service robot"),
    ({"free_memory": "16 GiB"}, "memory", "ps -eo"),
]


@pytest.mark.parametrize(("keys", "what", "mend"), DECLARED)
def test_what_was_declared_and_is_not_so_is_bad(keys: dict[str, Any], what: str, mend: str) -> None:
    """The config's own words against the machine's."""
    one = of(what, look(ready(), **keys))
    assert one.state == "bad"
    assert mend in one.mend


WARNED = [
    ("store.free", 2 << 30, "store", "store_size = "),
    ("state.swap_used", 512 << 20, "swap", "sudo swapoff -a && sudo swapon -a"),
    ("state.over_current", {"oc1": 3}, "over-current", "power supply"),
    ("tegrastats", {"works": False, "why": "it hung"}, "tegrastats", "nvidia-l4t-tools"),
    ("helper", {"installed": False}, "root helper", "hil board setup rover"),
    ("board.container", "docker", "container", ""),
]


@pytest.mark.parametrize(("path", "value", "what", "mend"), WARNED)
def test_what_only_spoils_numbers_warns(path: str, value: Any, what: str, mend: str) -> None:
    """A session would begin all the same."""
    found = look(changed(path, value))
    assert of(what, found).state == "warn"
    assert mend in of(what, found).mend
    assert "bad" not in {one.state for one in found}


def test_a_missing_helper_is_bad_only_where_it_is_needed() -> None:
    """Locked clocks and services that are to be stopped need root."""
    without = changed("helper", {"installed": False, "why_not": "no root helper is installed: run 'x' on the host"})
    assert of("root helper", look(without)).state == "warn"
    one = of("root helper", look(without, clocks="locked", stop_services=("perception",)))
    assert (one.state, one.mend.split("  #")[0]) == ("bad", "hil board setup rover --service perception")
    assert one.found == 'no root helper is installed; needed for clocks = "locked" and stop_services'
    assert of("clocks", look(without, clocks="locked")).state == "bad"
    assert of("clocks", look(ready(), clocks="locked")).state == "ok"


@pytest.mark.parametrize(
    ("ahead", "state", "told"),
    [
        (0.5, "ok", "within a minute"),
        (-315576000.0, "warn", "10 years behind"),
        (7200.0, "warn", "2 hours ahead"),
        (None, "unknown", "cannot"),
    ],
)
def test_a_wrong_clock_is_told_with_its_size(ahead: float | None, state: str, told: str) -> None:
    """A board without a battery starts in 1970; TLS and logs mind, a session does not."""
    one = of("clock", look(ready(), ahead))
    assert one.state == state
    assert told in one.found
    assert ("timedatectl" in one.mend) is (state == "warn")


MISSING = [
    ({"executable": "/opt/py/bin/python3"}, "numpy", "/opt/py/bin/python3 -m pip install --user numpy"),
    (
        {"executable": "/home/hil/venv/bin/python", "prefix": ["/home/hil/venv", "/usr"]},
        "numpy",
        "/home/hil/venv/bin/python -m pip install numpy",
    ),
    ({"why_not": {"numpy": "the interpreter was killed by SIGILL"}}, "numpy", "numpy==1.19.4"),
    ({"executable": "/opt/py/bin/python3"}, "TensorRT", 'python = "/usr/bin/python3"'),
    (
        {"executable": "/home/hil/venv/bin/python", "prefix": ["/home/hil/venv", "/usr"]},
        "TensorRT",
        "python3 -m venv --system-site-packages /home/hil/venv",
    ),
    (
        {"why_not": {"tensorrt": "ImportError: libnvdla_compiler.so: cannot open shared object file"}},
        "TensorRT",
        "sudo apt-get install nvidia-l4t-dla-compiler",
    ),
]


@pytest.mark.parametrize(("other", "what", "mend"), MISSING)
def test_the_mend_is_that_of_the_interpreter(other: dict[str, Any], what: str, mend: str) -> None:
    """By apt for the system's own, pip for others; JetPack's TensorRT for the system's alone."""
    facts = {**ready(), **other, "numpy": None, "runtimes": {}}
    assert mend in of(what, look(facts)).mend


@pytest.mark.parametrize(
    ("generation", "mend"),
    [
        ("jp62", "sudo apt-get install nvidia-l4t-dla-compiler"),
        ("jp72", "sudo apt-get install --reinstall python3-libnvinfer libnvinfer-bin"),
    ],
)
def test_the_dla_compiler_by_jetpack(generation: str, mend: str) -> None:
    """JetPack 7.2 has no such package any more, so that no command asks for it there."""
    facts = {**ready(generation), "runtimes": {}, "why_not": {"tensorrt": "ImportError: libnvdla_compiler.so: cannot"}}
    assert of("TensorRT", look(facts, board=None)).mend.startswith(mend)


def test_a_user_without_the_group_is_told_which() -> None:
    """Of each closed device node its own group; never root's."""
    nodes = [
        {"path": "/dev/nvhost-gpu", "group": {"number": 44, "name": "video"}, "usable": False},
        {"path": "/dev/dri/renderD128", "group": {"number": 110, "name": "render"}, "usable": False},
        {"path": "/dev/nvmap", "group": {"number": 0, "name": "root"}, "usable": False},
    ]
    one = of("groups", look(changed("board.devices", nodes)))
    assert one.state == "bad"
    assert one.mend.startswith("sudo usermod -aG render,video hil")
    assert "root" not in one.mend


def test_names_from_afar_are_quoted_in_commands() -> None:
    """A board that lies must not put a second command into what a person copies."""
    evil = ready()
    evil["store"]["writable"], evil["account"] = False, {"name": "x; rm -rf /"}
    assert "chown 'x; rm -rf /'" in of("store", look(evil)).mend
    assert (
        "'/o;reboot/python' -m pip"
        in of("numpy", look({**ready(), "numpy": None, "executable": "/o;reboot/python"})).mend
    )


def test_who_holds_it_is_told_and_no_error() -> None:
    """What was not asked is unknown, never bad and never fine."""
    facts = ready()
    for key in ("numpy", "runtimes", "facts", "why_not", "tegrastats"):
        del facts[key]
    facts["board"] |= {"cuinit": None, "libraries": None}
    facts["helper"]["answers"] = None
    found = look({**facts, "holder": HOLDER})
    assert of("held", found).found.startswith("by ci (pid 7) from host runner-2 since 2026-01-01 00:00:00 UTC")
    assert of("held", found).state == "ok"
    unknown = {one.what for one in found if one.state == "unknown"}
    assert {"numpy", "TensorRT", "libnvinfer", "cuDNN", "driver", "root helper", "tegrastats"} == unknown
    assert "bad" not in {one.state for one in found}


def test_a_holder_that_cannot_be_told_is_unknown() -> None:
    """A lock without a name is a lock."""
    assert of("held", look({**ready(), "holder": {"why": "it left no name"}})).state == "unknown"


def test_onnx_runtime_on_a_board_needs_no_tensorrt() -> None:
    """What is not there and not needed is fine."""
    facts = {**ready(), "runtimes": {"onnxruntime": "1.23.0"}}
    facts["board"] |= {"cuinit": None, "cuda": None, "libraries": {"nvinfer": None, "cudnn": None}}
    assert "bad" not in {one.state for one in look(facts, runtime="onnxruntime")}


def test_no_facts_are_never_ready() -> None:
    """Whoever answers nothing is not fine."""
    assert "bad" in {one.state for one in look({})}
    assert "bad" in {one.state for one in examine("cpu", TargetSpec(), {})}


def test_what_a_session_would_refuse_is_never_ready() -> None:
    """The last word is the session's own check, whatever the lines above missed."""
    facts = changed("facts.tensorrt.sm", "8.9")
    found = look(facts)
    assert of("confirmed", found).state == "bad"
    assert "SM" in of("confirmed", found).found


def test_trouble_with_the_interpreter_keeps_its_mend() -> None:
    """The message's two halves, in their columns."""
    one = trouble("rover", "the interpreter python3 does not exist: on target 'rover': install it (`sudo apt …`)")
    assert (one.found, one.mend) == ("the interpreter python3 does not exist", "install it (`sudo apt …`)")
    assert trouble("rover", "odd").found == "odd"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def paths(facts: dict[str, Any], prefix: str = "") -> list[str]:
    """Every key of the facts, by its path."""
    found = []
    for key, value in facts.items():
        found.append(prefix + key)
        if isinstance(value, dict) and "." not in key:
            found += paths(value, f"{prefix}{key}.")
    return found


@given(st.sampled_from(paths(ready())), JSON, st.sampled_from(["tensorrt", "onnxruntime"]), st.booleans())
def test_malformed_facts_are_never_a_traceback(path: str, value: Any, runtime: str, locked: bool) -> None:
    """Whatever a machine sends is told in words, and each line is one of the four states."""
    keys: dict[str, Any] = {"clocks": "locked" if locked else "as-deployed", "board": None, "runtime": runtime}
    keys |= {"power_mode": "15W", "start_below": "60 °C", "free_memory": "1 GiB", "stop_services": ("perception",)}
    for one in look(changed(path, value), **keys):
        assert one.state in STATES
        assert one.what
        assert one.found


@given(st.sampled_from(paths(ready())), st.none() | JSON)
def test_ready_means_that_a_session_would_confirm_it(path: str, value: Any) -> None:
    """With one fact another than on a board that is fine: no bad line, no refusal."""
    facts = changed(path, value)
    if facts.get("holder") is None and "bad" not in {one.state for one in look(facts)}:
        assert confirm("rover", spec(), facts) is not None
