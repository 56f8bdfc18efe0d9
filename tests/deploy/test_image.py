"""What an image's archive may be: each refused for one thing that was changed in an archive that is taken."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from hil.deploy import image
from hil.deploy.release import Release, build
from hil.errors import DeployRefused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Entry = tuple[str, bytes | str | None]
"""Its name, and its content; a string is where a link leads to, ``None`` a folder."""
ENGINE, CONFIG = b"an engine" * 100, b"speed: 3\n"


def packed(entries: list[Entry], kind: bytes = tarfile.SYMTYPE) -> bytes:
    """A tar of these."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in entries:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type, member.linkname = kind, content
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


@dataclass
class Made:
    """An archive in the making, of a release with one engine and one config."""

    folder: Path
    release: Release
    layers: list[list[Entry]] = field(default_factory=list)
    kind: bytes = tarfile.SYMTYPE

    def inside(self, path: str) -> str:
        """Where a file of the release lies in the image."""
        return f"{image.FOLDER}/{path}"

    def save(self, change: Callable[[dict[str, bytes]], object] = lambda _: None, *, zipped: bool = False) -> Path:
        """Writes it; ``change`` is made to the members of the archive before."""
        layers = [packed(layer, self.kind) for layer in self.layers]
        diffs = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diffs}}).encode()
        names = [f"{number}/layer.tar" for number in range(len(layers))]
        listed = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": names}]
        members = dict(zip(names, [gzip.compress(layer) for layer in layers] if zipped else layers, strict=True))
        members |= {"config.json": config, "manifest.json": json.dumps(listed).encode()}
        change(members)
        path = self.folder / "image.tar"
        path.write_bytes(packed(list(members.items())))
        return path

    def why(self, change: Callable[[dict[str, bytes]], object] = lambda _: None) -> str:
        """Why it is refused."""
        with pytest.raises(DeployRefused) as caught:
            image.verified(self.save(change), self.release)
        return str(caught.value)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """An archive that is taken: a base, and the release above it."""
    engine = tmp_path / "engine"
    engine.write_bytes(ENGINE)
    told: dict[str, Any] = {
        "schema": 1,
        "engines": [{"path": "engines/a-fp32.plan", "sha256": hashlib.sha256(ENGINE).hexdigest()}],
    }
    work = tmp_path / "work"
    work.mkdir()
    release = build(told, {"engines/a-fp32.plan": engine}, {"config/robot.yaml": CONFIG}, work)
    layer: list[Entry] = [("opt/hil/", None), (f"{image.FOLDER}/", None)]
    layer += [(f"{image.FOLDER}/{path}", place.read_bytes()) for path, place in release.paths.items()]
    base: list[Entry] = [("bin/sh", b"#!"), ("bin/bash", "sh"), ("opt/", None)]
    return Made(tmp_path, release, [base, layer])


def test_an_image_that_has_the_release(made: Made) -> None:
    """Its id is its configuration's digest; packed layers are the same image; an untouched layer above is no harm."""
    found = image.verified(made.save(), made.release)
    assert set(found.files) == {"engines/a-fp32.plan", "config/robot.yaml", "manifest.json"}
    again = image.verified(made.save(zipped=True), made.release)
    assert again.image == found.image
    made.layers.append([("etc/hosts", b""), ("opt/hil/app", b"the robot's own")])
    assert image.verified(made.save(), made.release).image != found.image


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ([("opt/hil/release/engines/a-fp32.plan", b"another engine")], "a-fp32.plan in its image has SHA-256"),
        ([("./opt//hil/./release/engines/a-fp32.plan", b"another")], "a-fp32.plan in its image has SHA-256"),
        ([("opt/hil/release/manifest.json", b"{}")], "manifest.json in its image has SHA-256"),
        ([("opt/hil/release/engines/b.plan", b"one more")], "does not belong to the release"),
        ([("opt/hil/release/engines/.wh.a-fp32.plan", b"")], "a-fp32.plan is missing"),
        ([("opt/hil/release/engines/.wh..wh..opq", b"")], "a-fp32.plan is missing"),
        ([("opt/.wh.hil", b"")], "is missing in its image"),
        ([(".wh.opt", b"")], "is missing in its image"),
        ([(".wh..wh..opq", b"")], "is missing in its image"),
        ([("opt/hil/release/engines/a-fp32.plan", None)], "a-fp32.plan is missing"),
        ([("opt/hil/release/engines/a-fp32.plan", "/etc/other.plan")], "is not a regular file"),
        ([("opt/hil", "/srv/other")], "/opt/hil in it is not a folder"),
        ([("opt", b"a file")], "/opt in it is not a folder"),
        ([("etc/../opt/hil/release/engines/a-fp32.plan", b"another")], "has a `..`"),
    ],
)
def test_an_image_with_anything_else_there(made: Made, layer: list[Entry], message: str) -> None:
    """A layer above changes, adds, hides or leads away: what the container would see is not the release."""
    made.layers.append(layer)
    assert message in made.why()


def test_a_hard_link_in_place_of_an_engine(made: Made) -> None:
    """Its content would be another file's."""
    made.kind = tarfile.LNKTYPE
    made.layers[0] = [("bin/sh", b"#!")]
    made.layers.append([("opt/hil/release/engines/a-fp32.plan", "bin/sh")])
    assert "is not a regular file" in made.why()


def test_a_layer_that_the_image_does_not_name(made: Made) -> None:
    """The id stands for the layers' digests: another layer under the same id is found."""
    other = packed([(made.inside("engines/a-fp32.plan"), b"another")])
    assert "is not the one that its image names" in made.why(lambda members: members.update({"1/layer.tar": other}))


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.pop("manifest.json"),
        lambda members: members.pop("config.json"),
        lambda members: members.pop("1/layer.tar"),
        lambda members: members.update({"manifest.json": b"[]"}),
        lambda members: members.update({"manifest.json": b"{"}),
        lambda members: members.update({"manifest.json": b"[" * 100_000}),
        lambda members: members.update({"manifest.json": b'[{"Config": 1, "Layers": []}]'}),
        lambda members: members.update({"manifest.json": members["manifest.json"][:-1] + b",{}]"}),
        lambda members: members.update({"config.json": b"{}"}),
        lambda members: members.update({"0/layer.tar": b"\x1f\x8b no gzip"}),
        lambda members: members.update({"0/layer.tar": b"no tar"}),
    ],
)
def test_what_is_no_whole_archive(made: Made, change: Callable[[dict[str, bytes]], object]) -> None:
    """One message, whatever is wrong with it."""
    assert "not a complete archive of an image" in made.why(change)


def test_an_archive_that_is_cut_or_changed(made: Made) -> None:
    """Cut anywhere, or one byte flipped in what its image stands for, it is refused; one that is not there as well."""
    path = made.save()
    content = path.read_bytes()
    for length in range(0, content.rindex(b"manifest.json"), 997):
        path.write_bytes(content[:length])
        with pytest.raises(DeployRefused):
            image.verified(path, made.release)
    at = content.index(ENGINE)
    path.write_bytes(content[:at] + b"x" + content[at + 1 :])
    with pytest.raises(DeployRefused, match="is not the one that its image names"):
        image.verified(path, made.release)
    with pytest.raises(DeployRefused, match="No such file"):
        image.verified(path.with_name("gone.tar"), made.release)
