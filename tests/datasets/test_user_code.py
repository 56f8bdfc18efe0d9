"""Samples from the user's own code: imported from the config's folder, named in errors, the same in each pass."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from hil.callables import load_callable
from hil.datasets import user_code
from hil.errors import UserError
from hil.onnx_files.imported_modules import digest_of_modules, modules_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.datasets.project import Project

GOOD = """
def samples():
    for i in range(5):
        yield {"x": np.full(2, i, np.float32), "labels": i}
"""
READ = """
from PIL import Image

def read(path):
    return {"x": np.asarray(Image.open(path), np.float32).ravel()}
"""


@pytest.fixture(autouse=True)
def _fresh_modules() -> Iterator[None]:
    """Unload the modules that a test imported."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def images(project: Project, *names: str) -> None:
    """Write images of two pixels, each image with its own grey level."""
    for grey, name in enumerate(names):
        path = project.root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((1, 2), grey, np.uint8)).save(path)


def test_a_callable_is_called_in_each_pass(project: Project) -> None:
    """A callable is called in each pass; a first pass gives count, digest and labels."""
    project.module("good", GOOD)
    data = project.open("good:samples")
    assert (data.count, data.has_labels) == (5, True)
    for _ in range(2):
        batches = list(data.batches(2))
        assert [batch.inputs["x"][:, 0].tolist() for batch in batches] == [[0, 1], [2, 3], [4]]
        assert batches[1].labels[""].tolist() == [2, 3]
    assert [len(batch.inputs["x"]) for batch in data.batches(2, 3)] == [2, 1]


def test_the_same_samples_have_the_same_digest(project: Project) -> None:
    """Samples from a callable and from a file have the same digest."""
    project.module("good", GOOD)
    arrays = np.repeat(np.arange(5, dtype=np.float32), 2).reshape(5, 2)
    assert project.open("good:samples").digest == project.open(project.save(x=arrays, labels=np.arange(5))).digest


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def samples():\n    return 3", "gave int"),
        ("def samples():\n    return []", "holds zero samples"),
        ("def samples():\n    yield 3", "gave sample 0 as int"),
        ("def samples():\n    yield {'x': [1, 2]}", "with 'x' as list"),
        ("def samples():\n    yield {'x': np.zeros(2)}", "as float64, but the input takes float32"),
        ("def samples():\n    yield {'x': np.zeros((1, 2), 'f4')}", "without the batch dimension"),
        ("def samples():\n    yield {'z': np.zeros(2, 'f4')}", "missing 'x'; unknown 'z'"),
        ("def samples():\n    yield {'x': np.zeros(2, 'f4'), 'labels': 'cat'}", "labels that are not numbers"),
        ("def samples():\n    raise KeyError('oops')", "bad:samples raised KeyError: 'oops'"),
        ("def samples():\n    yield {'x': np.zeros(2, 'f4')}\n    1 / 0", "raised ZeroDivisionError: division by zero"),
        ("def samples():\n    raise SystemExit(3)", "raised SystemExit: 3"),
        ("samples = 3", "has no callable 'samples'"),
        ("1 / 0", "cannot be imported (ZeroDivisionError: division by zero)"),
        (
            "def samples():\n    yield {'x': np.zeros(2, 'f4'), 'labels': 1}\n    yield {'x': np.zeros(2, 'f4')}",
            "labels unlike those of the first",
        ),
    ],
)
def test_an_error_of_the_users_code_is_one_message(project: Project, body: str, message: str) -> None:
    """An error of the user's code is a message with callable, model and cause, not a traceback."""
    project.module("bad", body)
    with pytest.raises(UserError) as error:
        project.open("bad:samples")
    assert message in str(error.value)
    assert "model m" in str(error.value)


ENDLESS = """
import itertools

def samples():
    for i in itertools.count():
        assert i < {most}, "read past what was asked for"
        yield {{"x": np.full(2, i, np.float32), "labels": i}}
"""


def test_only_the_requested_samples_are_read(project: Project) -> None:
    """An endless callable is read for ``samples`` samples in each pass, and no further."""
    project.module("endless", ENDLESS.format(most=7))
    data = project.open("endless:samples", samples=7)
    assert data.count == len(list(data.sample_digests())) == 7
    assert [len(batch.inputs["x"]) for batch in data.batches(4)] == [4, 3]
    assert sum(len(batch.inputs["x"]) for batch in data.batches(4, 5)) == 5
    project.module("few", GOOD)
    assert project.open("few:samples", samples=7).count == 5


def test_code_runs_once_for_the_digests(project: Project) -> None:
    """The first pass over user code computes the digests, which equal those of the same samples in a file."""
    project.module("counting", "CALLS = []\n" + GOOD.replace("    for ", "    CALLS.append(1)\n    for "))
    data = project.open("counting:samples")
    calls = sys.modules["counting"].CALLS
    before = len(calls)
    digests = list(data.sample_digests())
    assert len(calls) == before
    arrays = np.concatenate([batch.inputs["x"] for batch in data.batches(1)])
    assert digests == list(project.open(project.save(x=arrays)).sample_digests())


@pytest.mark.parametrize(("name", "most"), [("MOST_SAMPLES", 50), ("MOST_BYTES", 400)])
def test_a_callable_without_end_is_given_up(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    """An endless callable is refused at a limit of samples or bytes, with the advice to set ``samples``."""
    monkeypatch.setattr(user_code, name, most)
    project.module("endless", ENDLESS.format(most=60))
    with pytest.raises(UserError, match="has not ended: model m: set samples"):
        project.open("endless:samples")


@pytest.mark.parametrize(
    "body",
    [
        "def samples():\n    yield {'x': np.random.rand(2).astype('f4')}",
        "calls = []\ndef samples():\n    calls.append(1)\n    return [{'x': np.zeros(2, 'f4')}] * (1 + len(calls))",
        "kept = iter([{'x': np.zeros(2, 'f4')}] * 3)\ndef samples():\n    return kept",
    ],
    ids=["random", "longer", "used-up"],
)
def test_different_samples_in_another_pass_are_refused(project: Project, body: str) -> None:
    """A source with other samples in another pass is refused."""
    project.module("shaky", body)
    data = project.open("shaky:samples")
    with pytest.raises(UserError, match="differs from the pass before"):
        list(data.batches(2))


def test_modules_are_imported_from_the_configs_folder(project: Project) -> None:
    """The config's folder is on ``sys.path`` only during the import."""
    project.module("good", GOOD)
    before = list(sys.path)
    loaded = load_callable("good:samples", project.root, model="m", where="hil.toml:3")
    assert sys.path == before
    assert loaded.digest == digest_of_modules(modules_of("good", project.root, "m"))


def test_a_module_of_the_same_name_is_refused(project: Project) -> None:
    """If another module ``json`` was imported before the ``json.py`` of the project, the message reports both."""
    project.module("json", GOOD)
    with pytest.raises(UserError, match="was imported first"):
        project.open("json:samples")


def test_a_folder_of_images(project: Project) -> None:
    """Images are read in the order of their names; the digest includes that of the preprocessing code."""
    project.module("reading", READ)
    images(project, "b.png", "a.png", ".hidden.png")
    data = project.open("images", preprocess="reading:read")
    assert (data.count, data.has_labels) == (2, False)
    assert next(data.batches(2)).inputs["x"][:, 0].tolist() == [1, 0]
    assert data.provenance["preprocess"] == "reading:read"
    assert data.provenance["preprocess_digest"] == digest_of_modules(modules_of("reading", project.root, "m"))
    first = data.digest
    project.module("reading2", READ + "# the same, and yet another file\n")
    assert project.open("images", preprocess="reading2:read").digest != first


def test_sub_folders_are_the_labels(project: Project) -> None:
    """The sorted sub-folders are classes 0, 1, …; a file next to them is refused."""
    project.module("reading", READ)
    images(project, "dog/1.png", "cat/2.png", "cat/1.png")
    data = project.open("images", preprocess="reading:read")
    assert next(data.batches(3)).labels[""].tolist() == [0, 0, 1]
    assert data.provenance["classes"] == "cat dog"
    images(project, "stray.png")
    with pytest.raises(UserError, match="beside the folders of classes"):
        project.open("images", preprocess="reading:read")


def test_an_empty_folder_holds_zero_samples(project: Project) -> None:
    """An empty folder is refused, as is a folder without ``preprocess``."""
    project.module("reading", READ)
    (project.root / "images").mkdir()
    with pytest.raises(UserError, match="holds zero samples"):
        project.open("images", preprocess="reading:read")
    with pytest.raises(UserError, match="add preprocess"):
        project.open("images")


def test_a_file_that_cannot_be_read_names_the_callable(project: Project) -> None:
    """A file that is not an image fails in the user's code, and the message names the callable."""
    project.module("reading", READ)
    (project.root / "images").mkdir()
    (project.root / "images" / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match="reading:read raised UnidentifiedImageError"):
        next(project.open("images", preprocess="reading:read").batches(1))


@pytest.mark.parametrize(("mode", "words"), [("RGBA", "convert"), ("L", "convert"), ("I;16", "scale its values")])
def test_an_image_of_another_mode_is_named_with_what_helps(project: Project, mode: str, words: str) -> None:
    """An image of another mode is refused; the message names the file and its mode."""
    image = pytest.importorskip("PIL.Image")
    project.shape = ["batch", 2, 2, 3]
    read = "from PIL import Image\ndef read(path):\n    return {'x': np.asarray(Image.open(path)).astype('float32')}\n"
    project.module("reading", read)
    (project.root / "images").mkdir()
    image.new("RGB", (2, 2)).save(project.root / "images" / "a.png")
    image.new(mode, (2, 2)).save(project.root / "images" / "b.png")
    data = project.open("images", preprocess="reading:read")
    with pytest.raises(UserError, match=f"file b.png, an image of mode {mode}.*{words}"):
        list(data.batches(1))


def _turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (2, 3)).save(path, exif=exif)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("read", "is_refused"), [("image", True), ("ImageOps.exif_transpose(image)", False)])
def test_a_rotated_photograph_has_to_be_turned_upright(
    project: Project, read: str, is_refused: bool, order: str
) -> None:
    """A resized photograph that the code does not turn as its EXIF data states is refused; the message names it."""
    project.shape = ["batch", 4, 4, 3]
    body = f"    return {{'x': np.asarray({read}.resize((4, 4))).astype('float32')}}\n"
    text = "from PIL import Image, ImageOps\ndef read(path):\n    image = Image.open(path)\n"
    project.module("reading", text + body)
    (project.root / "images").mkdir()
    noise = Image.effect_noise((32, 64), 99).convert("RGB")
    noise.save(project.root / "images" / "a.jpg")
    exif = Image.Exif()
    exif.endian = order
    exif[0x0112] = 6
    noise.save(project.root / "images" / "b.jpg", exif=exif)
    if is_refused:
        with pytest.raises(UserError, match=r"does not turn images upright .*: model .*: file b\.jpg: use PIL"):
            list(project.open("images", preprocess="reading:read").batches(1))
    else:
        assert len(list(project.open("images", preprocess="reading:read").batches(1))) == 2


def _cut(path: Path) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("turned.jpg", _turned, "an image of mode RGB, and PIL.ImageOps.exif_transpose"),
        ("cut.jpg", _cut, "an image that is damaged or cut short: copy it again"),
        ("cut.png", _cut, "an image that is damaged or cut short: copy it again"),
        ("empty.jpg", Path.touch, "which is empty: copy it again"),
        ("notes.txt", lambda path: path.write_text("x"), "which is not an image: remove it from the folder"),
        ("text.png", lambda path: path.write_text("x"), "which is not an image: remove it from the folder"),
        ("gray.gif", lambda path: Image.new("P", (2, 2)).save(path), "an image of mode P: image.convert"),
        ("float.tif", lambda path: Image.new("F", (2, 2)).save(path), "an image of mode F: scale its values"),
        ("print.jpg", lambda path: Image.new("CMYK", (2, 2)).save(path), "an image of mode CMYK: image.convert"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_what_helps(
    project: Project, name: str, make: Callable[[Path], object], words: str
) -> None:
    """A file that does not fit is named in the message; the extension of a good image does not matter."""
    project.shape = ["batch", 2, 2, 3]
    read = "    with Image.open(path) as image:\n        return {'x': np.asarray(image).astype('float32')}\n"
    project.module("reading", f"from PIL import Image\ndef read(path):\n{read}")
    folder = project.root / "images"
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(folder / "a.jpg", format="PNG")
    make(folder / name)
    data = project.open("images", preprocess="reading:read")
    with pytest.raises(UserError, match=f"file {name}, {words}"):
        list(data.batches(1))
