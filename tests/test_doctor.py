from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.config.spec import TargetSpec
from hil.doctor import Finding, examine
from hil.doctor.examine import interpreter_finding
from hil.doctor.findings import STATES
from hil.session.target.board_match import confirm
from tests.boards.generations import GENERATIONS, facts_of

GPU = {"gpu": "Orin", "sm": "8.7", "sms": "8", "cuda": "12.6", "dla": "2"}
HOLDER = {"who": "ci (pid 7)", "host": "runner-2", "since": "2026-01-01 00:00:00 UTC"}


def ready(generation: str = "jp62") -> dict[str, Any]:
    """Return the facts of a healthy board whose runtime is TensorRT."""
    known = facts_of(generation)
    modes = known["power_modes"]["modes"]
    node = {"path": "/dev/nvhost-gpu", "group": {"number": 44, "name": "video"}, "usable": True}
    boot = dict(line.split(" ", 1) for line in known["etc"].get("nv_boot_control.conf", []))
    board = {
        "compatible": known["compatible"],
        "model": known["model"],
        "serial": known["serial"],
        "nv_tegra_release": "\n".join(known["etc"]["nv_tegra_release"]),
        "packages": known["packages"],
        "boot_control": boot,
        "memory_total": known["memory_kib"] * 1024,
        "cuda": {"toolkit": "12.6.68", "source": "/usr/local/cuda/version.json"},
        "devices": [node],
        "container": "none",
        "libraries": {"nvinfer": "10.3.0.30", "cudnn": "9.3.0"},
        "cuinit": {"code": 0, "error": None},
        "power_modes": [{"id": finding["id"], "name": finding["name"], "tpc_mask": None} for finding in modes],
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
        "memory": {"total": known["memory_kib"] * 1024},
        "python": "3.10.12",
        "executable": "/usr/bin/python3",
        "prefix": ["/usr", "/usr"],
        "there": {"numpy": True, "tensorrt": True},
        "numpy": "1.21.5",
        "runtimes": {"tensorrt": "10.3.0"},
        "facts": {"tensorrt": dict(GPU)},
        "why_not": {},
        "tegrastats": {"works": True, "why": None},
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the facts of ``ready`` with the one at ``path`` replaced by ``value``."""
    facts = ready()
    *keys, last = path.split(".")
    table = facts
    for key in keys:
        table = table[key]
    table[last] = value
    return facts


def spec(**keys: Any) -> TargetSpec:
    """Return the config of a board whose runtime is TensorRT, with ``keys`` changed."""
    return TargetSpec(**{"kind": "ssh", "host": "rover", "runtime": "tensorrt", "board": "orin-nx-16gb", **keys})


def of(what: str, findings: list[Finding]) -> Finding:
    """Return the only finding about ``what``."""
    [finding] = [each for each in findings if each.what == what]
    return finding


def findings_of(facts: dict[str, Any], ahead: float | None = 0.0, **keys: Any) -> list[Finding]:
    """Return the findings on target ``rover``."""
    return examine("rover", spec(**keys), facts, ahead)


def test_healthy_board_has_no_findings_to_fix() -> None:
    """On a healthy board every finding is ``ok`` and without a fix."""
    findings = findings_of(ready())
    assert {
        (finding.what, finding.state, finding.fix) for finding in findings if finding.state != "ok" or finding.fix
    } == set()
    assert {"board", "serial", "jetpack", "driver", "store", "root helper", "power mode"} <= {
        finding.what for finding in findings
    }


MODULES = {
    "jp46": "nano-4gb",
    "jp51": "agx-orin-32gb",
    "jp62": "orin-nx-16gb",
    "jp70": "thor-t5000",
    "jp72": "agx-orin-64gb",
}


@pytest.mark.parametrize("generation", GENERATIONS)
def test_each_generation_is_known(generation: str) -> None:
    """The JetPack release of each generation of boards is known, and so is the module of a Nano and an Orin NX."""
    findings = findings_of(ready(generation), board=None)
    assert of("board", findings).result.startswith(f"{MODULES[generation]} (part ")
    assert of("jetpack", findings).state == "ok"


OTHERS = [{"pid": 812, "name": "perception"}]
BAD = [
    ("board.compatible", None, "board", "hil probe rover --json"),
    ("numpy", None, "numpy", "sudo apt-get install python3-numpy"),
    ("runtimes.tensorrt", None, "TensorRT", "sudo apt-get install python3-libnvinfer"),
    ("board.libraries.nvinfer", None, "libnvinfer", "sudo apt-get install nvidia-jetpack"),
    ("board.kernels", ["75", "86"], "kernels", "sudo apt-get install nvidia-jetpack"),
    ("board.cuinit", {"code": 100, "error": "CUDA_ERROR_NO_DEVICE"}, "driver", "sudo reboot"),
    ("board.cuinit", None, "driver", "sudo apt-get install --reinstall nvidia-l4t-cuda"),
    ("store.writable", False, "store", "sudo chown hil /home/hil/s"),
    ("store.free", 1 << 20, "store", "df -h /home/hil/s"),
    ("state.throttle", {"gpu-throttle-alert": 1}, "throttling", "fan"),
    ("state.gpu_clients", OTHERS, "GPU clients", 'gpu_clients = ["perception", "planner"]'),
    ("state.gpu_clients", OTHERS, "GPU clients", "sudo kill 812"),
]


@pytest.mark.parametrize(("path", "value", "what", "fix"), BAD)
def test_what_stops_a_session_is_bad_and_has_its_fix(path: str, value: Any, what: str, fix: str) -> None:
    """A fact that would stop a session makes its finding ``bad``, with what to do about it."""
    finding = of(what, findings_of(changed(path, value), gpu_clients=("planner",)))
    assert finding.state == "bad"
    assert fix in finding.fix


def test_other_gpu_clients_only_warn_if_none_are_declared() -> None:
    """If the config does not declare ``gpu_clients``, other GPU clients are a warning, since every desktop has some."""
    assert of("GPU clients", findings_of(changed("state.gpu_clients", OTHERS))).state == "warn"


DECLARED = [
    ({"board": "agx-orin-64gb"}, "board", 'board = "orin-nx-16gb"'),
    ({"serial": "1"}, "serial", 'serial = "1422323047219"'),
    ({"power_mode": "15W"}, "power mode", "sudo nvpmodel -m 2"),
    ({"power_mode": "15 W"}, "power mode", "write one of MAXN_SUPER, 10W"),
    ({"stop_services": ("robot",)}, "root helper", "hil board setup rover --service perception --service robot"),
    ({"free_memory": "16 GiB"}, "memory", "ps -eo"),
]


@pytest.mark.parametrize(("keys", "what", "fix"), DECLARED)
def test_a_board_that_differs_from_the_config_is_bad(keys: dict[str, Any], what: str, fix: str) -> None:
    """Each declared key that the machine contradicts is ``bad``, with a fix."""
    finding = of(what, findings_of(ready(), **keys))
    assert finding.state == "bad"
    assert fix in finding.fix


UNCONFIRMED: list[tuple[str, Any, dict[str, Any], str, str]] = [
    ("facts.tensorrt", {}, {"board": "nvidia-h200"}, "board", "nvidia-smi -L"),
    ("state.memory_available", None, {"free_memory": "1 GiB"}, "memory", "remove free_memory"),
]


@pytest.mark.parametrize(("path", "value", "keys", "what", "fix"), UNCONFIRMED)
def test_a_declared_value_that_cannot_be_confirmed_is_bad(
    path: str, value: Any, keys: dict[str, Any], what: str, fix: str
) -> None:
    """Each declared key without a fact that confirms it is ``bad``, with a fix."""
    finding = of(what, findings_of(changed(path, value), **keys))
    assert (finding.state, fix in finding.fix) == ("bad", True)


WARNED = [
    ("store.free", 2 << 30, "store", "store_size = "),
    ("state.swap_used", 512 << 20, "swap", "sudo swapoff -a && sudo swapon -a"),
    ("state.over_current", {"oc1": 3}, "over-current", "power supply"),
    ("tegrastats", {"works": False, "why": "it hung"}, "tegrastats", "nvidia-l4t-tools"),
    ("helper", {"installed": False}, "root helper", "hil board setup rover"),
    ("board.container", "docker", "container", ""),
]


@pytest.mark.parametrize(("path", "value", "what", "fix"), WARNED)
def test_what_only_spoils_numbers_warns(path: str, value: Any, what: str, fix: str) -> None:
    """Facts that only disturb measurements are warnings."""
    findings = findings_of(changed(path, value))
    assert of(what, findings).state == "warn"
    assert fix in of(what, findings).fix
    assert "bad" not in {finding.state for finding in findings}


def test_a_missing_helper_is_bad_only_where_it_is_needed() -> None:
    """Locking clocks and stopping services need root; without either, a missing helper only warns."""
    without = changed("helper", {"installed": False, "why_not": "no root helper is installed: run 'x' on the host"})
    assert of("root helper", findings_of(without)).state == "warn"
    finding = of("root helper", findings_of(without, clocks="locked", stop_services=("perception",)))
    assert (finding.state, finding.fix.split("  #")[0]) == ("bad", "hil board setup rover --service perception")
    assert finding.result == 'no root helper is installed; needed for clocks = "locked" and stop_services'
    assert of("clocks", findings_of(without, clocks="locked")).state == "bad"
    assert of("clocks", findings_of(ready(), clocks="locked")).state == "ok"


@pytest.mark.parametrize(
    ("ahead", "state", "message"),
    [
        (0.5, "ok", "within a minute"),
        (-315576000.0, "warn", "10 years behind"),
        (7200.0, "warn", "2 hours ahead"),
        (None, "unknown", "unknown"),
    ],
)
def test_a_wrong_clock_is_reported_with_its_offset(ahead: float | None, state: str, message: str) -> None:
    """A wrong clock of the board is a warning with its offset and a fix; an unknown one is not."""
    finding = of("clock", findings_of(ready(), ahead))
    assert finding.state == state
    assert message in finding.result
    assert ("timedatectl" in finding.fix) is (state == "warn")


MISSING = [
    ({"executable": "/opt/py/bin/python3"}, "numpy", "/opt/py/bin/python3 -m pip install --user numpy"),
    (
        {"executable": "/home/hil/venv/bin/python", "prefix": ["/home/hil/venv", "/usr"]},
        "numpy",
        "/home/hil/venv/bin/python -m pip install numpy",
    ),
    ({"why_not": {"numpy": "the interpreter was killed by SIGILL"}}, "numpy", "numpy==1.19.4"),
    ({"late": ["numpy", "tensorrt"], "there": {"numpy": True}}, "numpy", "run hil doctor again"),
    ({"late": ["numpy", "tensorrt"], "there": {"numpy": False}}, "numpy", "apt-get install python3-numpy"),
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


@pytest.mark.parametrize(("other", "what", "fix"), MISSING)
def test_the_fix_depends_on_the_interpreter(other: dict[str, Any], what: str, fix: str) -> None:
    """A missing module is installed by apt for the system's interpreter, by pip for any other."""
    facts = {**ready(), **other, "numpy": None, "runtimes": {}}
    assert fix in of(what, findings_of(facts)).fix


@pytest.mark.parametrize(
    ("generation", "fix"),
    [
        ("jp62", "sudo apt-get install nvidia-l4t-dla-compiler"),
        ("jp72", "sudo apt-get install --reinstall python3-libnvinfer libnvinfer-bin"),
    ],
)
def test_the_dla_compiler_by_jetpack(generation: str, fix: str) -> None:
    """If the DLA compiler is missing, the command installs its package; on JetPack 7.2, which has none, TensorRT's."""
    facts = {**ready(generation), "runtimes": {}, "why_not": {"tensorrt": "ImportError: libnvdla_compiler.so: cannot"}}
    assert of("TensorRT", findings_of(facts, board=None)).fix.startswith(fix)


def test_a_user_without_the_groups_gets_the_command_to_join_them() -> None:
    """If device nodes cannot be opened, the fix adds the user to their groups, except ``root``."""
    nodes = [
        {"path": "/dev/nvhost-gpu", "group": {"number": 44, "name": "video"}, "usable": False},
        {"path": "/dev/dri/renderD128", "group": {"number": 110, "name": "render"}, "usable": False},
        {"path": "/dev/nvmap", "group": {"number": 0, "name": "root"}, "usable": False},
    ]
    finding = of("groups", findings_of(changed("board.devices", nodes)))
    assert finding.state == "bad"
    assert finding.fix.startswith("sudo usermod -aG render,video hil")
    assert "root" not in finding.fix


def test_names_from_the_board_are_quoted_in_commands() -> None:
    """A malicious board cannot put a second command into the text that a person copies."""
    evil = ready()
    evil["store"]["writable"], evil["account"] = False, {"name": "x; rm -rf /"}
    assert "chown 'x; rm -rf /'" in of("store", findings_of(evil)).fix
    assert (
        "'/o;reboot/python' -m pip"
        in of("numpy", findings_of({**ready(), "numpy": None, "executable": "/o;reboot/python"})).fix
    )


def test_a_holder_is_reported_and_not_an_error() -> None:
    """Facts that are not queried while the target is held are ``unknown``, neither ``bad`` nor ``ok``."""
    facts = ready()
    for key in ("numpy", "runtimes", "facts", "why_not", "tegrastats"):
        del facts[key]
    facts["board"] |= {"cuinit": None, "libraries": None}
    facts["helper"]["answers"] = None
    findings = findings_of({**facts, "holder": HOLDER})
    assert of("held", findings).result.startswith("by ci (pid 7) from host runner-2 since 2026-01-01 00:00:00 UTC")
    assert of("held", findings).state == "ok"
    unknown = {finding.what for finding in findings if finding.state == "unknown"}
    assert {"numpy", "TensorRT", "libnvinfer", "cuDNN", "driver", "root helper", "tegrastats"} == unknown
    assert "bad" not in {finding.state for finding in findings}


def test_a_holder_without_a_name_is_unknown() -> None:
    """If a target is held and the holder recorded no name, the finding ``held`` is ``unknown``."""
    assert of("held", findings_of({**ready(), "holder": {"why": "it recorded no name"}})).state == "unknown"


def test_onnx_runtime_on_a_board_needs_no_tensorrt() -> None:
    """Missing libraries that the runtime does not need are not ``bad``."""
    facts = {**ready(), "runtimes": {"onnxruntime": "1.23.0"}}
    facts["board"] |= {"cuinit": None, "cuda": None, "libraries": {"nvinfer": None, "cudnn": None}}
    assert "bad" not in {finding.state for finding in findings_of(facts, runtime="onnxruntime")}


def test_no_facts_are_never_ready() -> None:
    """A target that reports no facts is not ready."""
    assert "bad" in {finding.state for finding in findings_of({})}
    assert "bad" in {finding.state for finding in examine("cpu", TargetSpec(), {})}


def test_what_a_session_would_refuse_is_never_ready() -> None:
    """If only a session's own check would refuse the board, the finding ``confirmed`` is ``bad`` and has the reason."""
    facts = changed("facts.tensorrt.sm", "8.9")
    findings = findings_of(facts)
    assert of("confirmed", findings).state == "bad"
    assert "SM" in of("confirmed", findings).result


def test_interpreter_finding_splits_message_and_fix() -> None:
    """A message about the interpreter is split at the target's name: the part after it is the fix."""
    finding = interpreter_finding(
        "rover", "the interpreter python3 does not exist: on target 'rover': install it (`sudo apt …`)"
    )
    assert (finding.result, finding.fix) == ("the interpreter python3 does not exist", "install it (`sudo apt …`)")
    assert interpreter_finding("rover", "odd").result == "odd"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def paths(facts: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted path of every key in ``facts``."""
    dotted = []
    for key, value in facts.items():
        dotted.append(prefix + key)
        if isinstance(value, dict) and "." not in key:
            dotted += paths(value, f"{prefix}{key}.")
    return dotted


@given(st.sampled_from(paths(ready())), JSON, st.sampled_from(["tensorrt", "onnxruntime"]), st.booleans())
def test_malformed_facts_are_never_a_traceback(path: str, value: Any, runtime: str, locked: bool) -> None:
    """Any JSON value in place of a fact yields findings with a text and one of the four states."""
    keys: dict[str, Any] = {"clocks": "locked" if locked else "as-deployed", "board": None, "runtime": runtime}
    keys |= {"power_mode": "15W", "start_below": "60 °C", "free_memory": "1 GiB", "stop_services": ("perception",)}
    for finding in findings_of(changed(path, value), **keys):
        assert finding.state in STATES
        assert finding.what
        assert finding.result


@given(st.sampled_from(paths(ready())), st.none() | JSON)
def test_ready_means_that_a_session_would_confirm_it(path: str, value: Any) -> None:
    """If doctor finds nothing ``bad`` after one fact of a healthy board was changed, a session confirms it too."""
    facts = changed(path, value)
    if facts.get("holder") is None and "bad" not in {finding.state for finding in findings_of(facts)}:
        assert confirm("rover", spec(), facts) is not None
