"""``load`` returns a ``Config``, or raises one message that lists every mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hil.config.find_config import find
from hil.config.load import Config, load
from hil.errors import ExitCode, UserError
from tests.config.example import EXAMPLE, project

MODEL = '[models.a]\npath = "examples/digits/model.onnx"\ndata = "examples/digits/validation.npz"\n'


def refused(folder: Path, text: str) -> list[str]:
    """Return the lines of the message with which ``text`` is refused."""
    with pytest.raises(UserError) as error:
        load(project(folder, text))
    return str(error.value).split("\n")


def loaded(folder: Path, text: str = EXAMPLE) -> Config:
    """Return the config loaded from ``text``."""
    return load(project(folder, text))


def test_example_of_the_design_loads(tmp_path: Path) -> None:
    """The complete example loads, with values in base units and defaults for omitted keys."""
    config = loaded(tmp_path)
    digits = config.spec.models["digits"]
    assert digits.precisions == ("fp32", "fp16", "int8")
    assert digits.limits.latency.p99 == pytest.approx(0.005)
    assert digits.limits.memory == 512 * 2**20
    assert digits.limits.system_memory == pytest.approx(0.85)
    assert digits.tolerances["int8"].top1_drop == pytest.approx(0.01)
    assert config.spec.measure.confidence == pytest.approx(0.99)
    assert config.root == tmp_path
    assert len(config.digest) == 64


def test_where_returns_the_line_of_a_key(tmp_path: Path) -> None:
    """``where`` returns the line of a key, or the line of the nearest table around an absent key."""
    config = loaded(tmp_path)
    assert config.where("models", "digits", "limits", "latency", "p99") == "hil.toml:32"
    assert config.where("models", "digits", "limits", "cold_load") == "hil.toml:31"
    assert config.where("measure", "soak") == "hil.toml:1"


@pytest.mark.parametrize(
    ("written", "most", "seconds", "method"),
    [
        ("", 2000, 20.0, {"inferences": 2000, "seconds": 20.0, "at_least": 100, "seconds_to_settle_the_limit": 60.0}),
        ("soak = 400", 400, None, 400),
        ('soak = "2 min"', None, 120.0, {"seconds": 120.0, "at_least": 100}),
    ],
)
def test_a_soak_is_a_number_or_a_time(
    tmp_path: Path, written: str, most: int | None, seconds: float | None, method: object
) -> None:
    """``soak`` is a number of inferences or a time, and the method states which."""
    length = loaded(tmp_path, f"{MODEL}[measure]\n{written}\n").spec.measure.soak_length
    assert (length.most if most else None, length.seconds, length.method()) == (most, seconds, method)
    assert length.fewest == (400 if most == 400 else 100)
    assert (length.settling(5000) == length) == bool(written)  # what the file asks for is done, no more and no less


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("20", "20 inferences are too few to show a leak: write at least 100, or a time such as '20 s'"),
        ("0", "write at least 100"),
        ('"20"', "a unit is missing (one of ns, us, µs, ms, s, min, h): write e.g. '5 ms'"),
        ('"0 s"', "is neither a number of inferences nor a time: write e.g. 2000 or '20 s'"),
        ("2000.5", "write e.g. 2000 or '20 s'"),
        ("true", "write e.g. 2000 or '20 s'"),
        ("[2000]", "write e.g. 2000 or '20 s'"),
    ],
)
def test_a_soak_that_shows_no_leak_is_refused(tmp_path: Path, value: str, message: str) -> None:
    """A soak of too few inferences, without a unit or of another type gives one message at its line."""
    (line,) = refused(tmp_path, f"{MODEL}[measure]\nsoak = {value}\n")
    assert line.startswith("hil.toml:5: measure.soak: ")
    assert message in line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("limts = { fps = 3 }", "hil.toml:4: models.a.limts: unknown key: did you mean 'limits'?"),
        ('precision = ["fp32"]', "hil.toml:4: models.a.precision: unknown key: did you mean 'precisions'?"),
        ('precisions = ["fp3"]', "is not one of fp32, tf32, fp16, bf16, int8, fp8, fp4, int4: did you mean 'fp32'?"),
        ("precisions = []", "hil.toml:4: models.a.precisions: no precision is given"),
        ('precisions = ["fp32", "fp32"]', "the same precision is listed twice"),
        ('precisions = ["fp32", "int8"]', "int8 needs the table [models.a.calibration] with the key 'data'"),
        ('precisions = ["fp8"]', "quantized to it: make one with python -m modelopt.onnx.quantization"),
        (
            'precisions = ["fp4"]\ndeployed = { int8 = "examples/digits/model.onnx" }',
            "--qformat=nvfp4 --onnx_save_path=examples/digits/model.fp4.onnx",
        ),
        ('deployed = { int8 = "gone.onnx" }', "models.a.deployed.int8: no such file"),
        ("limits.int8.in_precision = 80", "8000 % is more than 100 %"),
        ("limits.int8.speedup = { over = 'int8', least = 1.2 }", "int8 is compared with itself"),
        ("limits.int8.speedup = { over = 'fp16', least = 0 }", "every engine is more than 0 times as fast"),
        ("limits.int8.paced.missed = '1 %'", "models.a.limits.int8.paced: paced limits need the rate"),
        ('limits.latency = { p99 = "5 MiB" }', "unit 'MiB' is not one of ns, us, µs, ms, s, min, h: write e.g. '5 ms'"),
        ("limits.latency = { p99 = 5 }", "a unit is missing (one of ns, us, µs, ms, s, min, h): write e.g. '5 ms'"),
        ("limits.fps = nan", "must be finite and not negative"),
        ("limits.fps = 0", "every model reaches 0 fps"),
        ("limits.system_memory = 85", "8500 % is more than 100 %: write e.g. '85 %'"),
        ("limits = 3", "hil.toml:4: models.a.limits: expected a table: got 3"),
        ("samples = 0", "hil.toml:4: models.a.samples: must be at least 1: got 0"),
        ("samples = -1", "must be at least 1: got -1"),
        ("samples = true", "expected a whole number: got True"),
        ("batch = 1.5", "expected a whole number: got 1.5"),
        ("tolerances.fp32.max_abs = inf", "expected a finite number: got inf"),
        ("tolerances.fp32.cosine = 2", "must be at most 1: got 2"),
        ("tolerances.fp23.cosine = 0.5", "models.a.tolerances.fp23: unknown name: did you mean 'fp32'?"),
        ('reference = "examples/digits/validatoin.npz"', "did you mean 'validation.npz'?"),
        ('training_data = "nowhere.npz"', "Polygraphy's .json, folder or package.module:callable"),
        ('training_data = "synthetic"', "training data cannot be synthetic"),
        ('task = "clasification"', "did you mean 'classification'?"),
        ('task = "detection"', "detection needs the table [models.a.detection]"),
        ('metric = "top1"', "only built-in tasks have a choice of metrics"),
        ('preprocess = "pkg.mod:fn"', "no data of this model is a folder, so this has no effect"),
        ("shapes.height = [8, 4, 16]", "[min, opt, max] must not decrease: got [8, 4, 16]"),
        ("shapes.height = [8, 4]", "models.a.shapes.height"),
        ("ranges.x = [1, 0]", "[least, greatest] must not decrease"),
        ("on.cpuu.limits.fps = 3", "models.a.on.cpuu: unknown target: did you mean 'cpu'?"),
    ],
)
def test_a_mistake_has_file_line_and_remedy(tmp_path: Path, line: str, message: str) -> None:
    """A wrong line gives one message with its line number and the correction."""
    lines = refused(tmp_path, MODEL + line + "\n")
    assert any(message in one for one in lines), lines
    assert all(one.startswith("hil.toml:4: ") for one in lines), lines


@pytest.mark.parametrize(
    ("task", "line", "message"),
    [
        ("classification", 'metric = "top6"', "'top6' is not a metric of task 'classification'"),
        ("regression", "detection.nms = 0.5", "describes the layout of a detector's boxes"),
        ("detection", 'detection.decode = "boxes.py"', "not written as package.module:callable"),
        ("detection", 'detection = { decode = "a:b", layout = "objectness" }', "layout and boxes have no effect"),
    ],
)
def test_scoring_fits_its_task(tmp_path: Path, task: str, line: str, message: str) -> None:
    """A metric of another task and a contradictory ``detection`` table are reported at their line."""
    lines = refused(tmp_path, f'{MODEL}task = "{task}"\n{line}\n')
    assert any(message in one and one.startswith("hil.toml:5: ") for one in lines), lines


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    """All mistakes of a file are reported at once."""
    text = MODEL.replace("model.onnx", "modle.onnx") + "samples = 0\nlimts = 1\n[gate]\nwarnings = 3\n[measures]\n"
    lines = refused(tmp_path, text)
    assert [one.split(":")[1] for one in lines] == ["2", "4", "5", "7", "8"]
    assert "did you mean 'model.onnx'?" in lines[0]
    assert "did you mean 'measure'?" in lines[-1]


@pytest.mark.parametrize(("array", "lines"), [('["fp12"]', 1), ('["fp12", "fp13"]', 2)])
def test_a_mistake_in_an_array_is_reported_once(tmp_path: Path, array: str, lines: int) -> None:
    """Each wrong element of an array is one mistake, and the array is not another one."""
    assert len(refused(tmp_path, f"{MODEL}precisions = {array}\n")) == lines


@pytest.mark.parametrize(
    ("board", "message"),
    [
        ("orin-nx-16g", "'orin-nx-16g' is not a Jetson module: did you mean 'orin-nx-16gb'?"),
        ("agx-orin", "did you mean 'agx-orin-32gb' or 'agx-orin-64gb' or 'agx-orin-industrial-64gb'?"),
    ],
)
def test_a_misspelt_module_is_a_mistake_of_the_config(tmp_path: Path, board: str, message: str) -> None:
    """A misspelt module is reported with its line and all modules that it may mean."""
    lines = refused(tmp_path, f'{MODEL}[targets.orin]\nkind = "ssh"\nhost = "h"\nboard = "{board}"\n')
    assert len(lines) == 1
    assert lines[0].startswith("hil.toml:7: targets.orin.board: ")
    assert message in lines[0]


@pytest.mark.parametrize("key", ["host", "user", "identity", "known_hosts", "python", "store"])
@pytest.mark.parametrize("character", ["\\u0000", "\\n", "\\u001b", "\\u007f"])
def test_a_control_character_is_refused(tmp_path: Path, key: str, character: str) -> None:
    """A control character in a name, path or argument is refused, and the message escapes it."""
    host = "" if key == "host" else 'host = "h"\n'
    lines = refused(tmp_path, f'{MODEL}[targets.orin]\nkind = "ssh"\n{host}{key} = "a{character}b"\n')
    assert len(lines) == 1
    assert lines[0].startswith(f"hil.toml:{6 if key == 'host' else 7}: targets.orin.{key}: ")
    assert "contains a control character: remove it" in lines[0]
    assert lines[0].isprintable()


@pytest.mark.parametrize(("key", "value"), [("silence", "2 h"), ("silence", "4 s"), ("connect_timeout", "11 min")])
def test_time_limits_have_bounds(tmp_path: Path, key: str, value: str) -> None:
    """A duration below or above the bounds of its key is refused."""
    (line,) = refused(tmp_path, f'{MODEL}[targets.orin]\nkind = "ssh"\nhost = "h"\n{key} = "{value}"\n')
    assert line.startswith(f"hil.toml:7: targets.orin.{key}: ")


@pytest.mark.parametrize(
    "board", ["orin-nx-16gb", "jetson-thor-t5000", "h200", "geforce-rtx-4090", "a-card-of-tomorrow"]
)
def test_other_board_names_are_accepted(tmp_path: Path, board: str) -> None:
    """``board`` accepts any name, which may be a GPU's, besides Jetson modules."""
    assert loaded(tmp_path, f'{MODEL}[targets.orin]\nboard = "{board}"\n').spec.targets["orin"].board == board


def test_a_missing_key_names_its_table(tmp_path: Path) -> None:
    """A missing key is reported at the line of its table, with a similar key of that table."""
    lines = refused(tmp_path, '[models.a]\npth = "examples/digits/model.onnx"\ndata = "synthetic"\n')
    assert lines[0] == "hil.toml:1: models.a.path: must be given: is 'pth' a typo of it?"


@pytest.mark.parametrize("name", ["a b", "-a", "../a", "a/b", "", "ä", "a\\nb", "x" * 101])
@pytest.mark.parametrize("table", ["models", "targets"])
def test_names_are_valid_file_names(tmp_path: Path, table: str, name: str) -> None:
    """Names contain only letters, digits, '_', '.' and '-', because they become ids and file names."""
    lines = refused(tmp_path, f'{MODEL}[{table}."{name}"]\n')
    assert any("names are letters, digits" in one for one in lines)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "models: must be given"),
        (b"[models\n", "hil.toml:1: not TOML"),
        (b'a = 1\n[models]\nb = "x\n', "hil.toml:3: not TOML"),
        (b"a = 1\na = 2\n", "hil.toml:2: not TOML"),
        (b"a = 1\nb = '\xff'\n", "hil.toml:2: not UTF-8 text"),
        (b"#" * 2**20 + b"\n", "over 1 MiB"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"9" * 5000, "hil.toml:1"),
        (b"a" + b".a" * 500_000 + b" = 1", "more than 64 dots"),
    ],
    ids=["empty", "header", "string", "duplicate", "encoding", "huge", "nested", "digits", "dots"],
)
def test_a_malformed_file_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    """A file of arbitrary bytes gives one message."""
    path = tmp_path / "hil.toml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"hil\.toml") as error:
        load(path)
    assert message in str(error.value)
    assert error.value.exit_code is ExitCode.USER_ERROR


def test_a_missing_config_names_the_command_that_writes_one(tmp_path: Path) -> None:
    """A missing config names the command that writes one; a folder and another unreadable path are reported."""
    with pytest.raises(UserError, match="hil init"):
        load(tmp_path / "hil.toml")
    with pytest.raises(UserError, match="is a folder"):
        load(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"\(Not a directory\): check its path and its permissions"):
        load(tmp_path / "file" / "hil.toml")


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path: Path) -> None:
    """A byte order mark and CRLF line ends are accepted, and line numbers stay correct."""
    text = "\ufeff" + EXAMPLE.replace("\n", "\r\n")
    assert loaded(tmp_path, text).where("gate", "evidence") == "hil.toml:46"


def test_targets_are_found_by_name(tmp_path: Path) -> None:
    """The target ``cpu`` always exists; an unknown target gives the most similar name."""
    config = loaded(tmp_path, MODEL)
    assert config.target("cpu").kind == "local"
    with pytest.raises(UserError, match="did you mean 'cpu'"):
        config.target("cpuu")
    with pytest.raises(UserError, match="did you mean 'jetson-orin'"):
        loaded(tmp_path).target("jetson-orni")


def test_an_unknown_model_is_a_user_error(tmp_path: Path) -> None:
    """A misspelt model is a user error with the most similar name, not a ``KeyError``."""
    with pytest.raises(UserError, match="did you mean 'digits'"):
        loaded(tmp_path).model("digit", "cpu")


def test_unused_tables_are_warnings(tmp_path: Path) -> None:
    """Overrides of an undeclared target and tolerances of an unlisted precision are warnings."""
    config = loaded(tmp_path, EXAMPLE + "[models.digits.tolerances.bf16]\ncosine = 0.9\n")
    assert [one.split(":")[1] for one in config.warnings] == ["41", "48"]
    assert "does not declare this target" in config.warnings[0]


@pytest.mark.parametrize(
    ("bound", "warned"), [("max_rel = 1e30", 1), ("cosine = -0.5", 1), ("sqnr_db = 0", 1), ("cosine = 0.9", 0)]
)
def test_a_tolerance_that_any_output_meets_is_a_warning(tmp_path: Path, bound: str, warned: int) -> None:
    """A tolerance that any output meets is a warning, because it disables the check."""
    config = loaded(tmp_path, f"{MODEL}[models.a.tolerances.fp32]\n{bound}\n")
    assert len(config.warnings) == warned
    own = loaded(tmp_path, f"{MODEL}[models.a.tolerances.fp32.outputs.logits]\n{bound}\n")
    assert len(own.warnings) == warned


def test_a_folder_needs_preprocess(tmp_path: Path) -> None:
    """A folder of images needs ``preprocess``."""
    (tmp_path / "images").mkdir()
    text = MODEL.replace("examples/digits/validation.npz", "images")
    assert "needs the key 'preprocess'" in refused(tmp_path, text)[0]
    assert loaded(tmp_path, text + 'preprocess = "pkg.mod:fn"\n').spec.models["a"].preprocess == "pkg.mod:fn"


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative to the config, whatever the working directory."""
    project(tmp_path / "robot")
    monkeypatch.chdir(tmp_path)
    config = load(Path("robot/hil.toml"))
    assert config.resolve("examples/digits/model.onnx") == tmp_path / "robot/examples/digits/model.onnx"


def test_find_looks_upwards(tmp_path: Path) -> None:
    """The nearest ``hil.toml`` in or above the working directory is used."""
    path = project(tmp_path)
    assert find(tmp_path / "examples" / "digits") == path
    assert find(Path("/")) is None


def test_loading_needs_no_heavy_library() -> None:
    """Loading a config imports neither numpy nor onnx, which keeps ``pytest --collect-only`` fast."""
    code = "import sys, hil.config.load; sys.exit(bool({'numpy', 'onnx', 'onnxruntime', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
