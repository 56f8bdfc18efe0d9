"""Archives of images that are refused; each differs in one thing from an archive that is accepted."""

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
"""Name and content of a member; a string is the target of a link, ``None`` makes a folder."""
ENGINE, CONFIG = b"an engine" * 100, b"speed: 3\n"


def tar_of(entries: list[Entry], kind: bytes = tarfile.SYMTYPE) -> bytes:
    """Return a tar file with these members; ``kind`` is the tar type of its links."""
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
class ImageArchive:
    """An image's archive with a release of one engine and one config."""

    folder: Path
    release: Release
    layers: list[list[Entry]] = field(default_factory=list)
    kind: bytes = tarfile.SYMTYPE

    def inside(self, path: str) -> str:
        """Return the path within the image of a file of the release."""
        return f"{image.FOLDER}/{path}"

    def save(self, change: Callable[[dict[str, bytes]], object] = lambda _: None, *, zipped: bool = False) -> Path:
        """Write the archive after ``change`` to its members; return its path."""
        layers = [tar_of(layer, self.kind) for layer in self.layers]
        diffs = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diffs}}).encode()
        names = [f"{number}/layer.tar" for number in range(len(layers))]
        listed = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": names}]
        members = dict(zip(names, [gzip.compress(layer) for layer in layers] if zipped else layers, strict=True))
        members |= {"config.json": config, "manifest.json": json.dumps(listed).encode()}
        change(members)
        path = self.folder / "image.tar"
        path.write_bytes(tar_of(list(members.items())))
        return path

    def refusal(self, change: Callable[[dict[str, bytes]], object] = lambda _: None) -> str:
        """Return why the archive is refused after ``change``."""
        with pytest.raises(DeployRefused) as caught:
            image.verified(self.save(change), self.release)
        return str(caught.value)


@pytest.fixture
def archive(tmp_path: Path) -> ImageArchive:
    """An archive that is accepted: a base layer, and the release in a layer above."""
    engine = tmp_path / "engine"
    engine.write_bytes(ENGINE)
    facts: dict[str, Any] = {
        "schema": 1,
        "engines": [{"path": "engines/a-fp32.plan", "sha256": hashlib.sha256(ENGINE).hexdigest()}],
    }
    work = tmp_path / "work"
    work.mkdir()
    release = build(facts, {"engines/a-fp32.plan": engine}, {"config/robot.yaml": CONFIG}, work)
    layer: list[Entry] = [("opt/hil/", None), (f"{image.FOLDER}/", None)]
    layer += [(f"{image.FOLDER}/{path}", place.read_bytes()) for path, place in release.paths.items()]
    base: list[Entry] = [("bin/sh", b"#!"), ("bin/bash", "sh"), ("opt/", None)]
    return ImageArchive(tmp_path, release, [base, layer])


def test_an_image_with_the_release_is_accepted(archive: ImageArchive) -> None:
    """An image with the release is accepted, also with a further layer; compressing its layers keeps its id."""
    verified = image.verified(archive.save(), archive.release)
    assert set(verified.files) == {"engines/a-fp32.plan", "config/robot.yaml", "manifest.json"}
    compressed = image.verified(archive.save(zipped=True), archive.release)
    assert compressed.image == verified.image
    archive.layers.append([("etc/hosts", b""), ("opt/hil/app", b"the robot's own")])
    assert image.verified(archive.save(), archive.release).image != verified.image


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
def test_a_layer_that_changes_the_release(archive: ImageArchive, layer: list[Entry], message: str) -> None:
    """An image is refused if a further layer changes, adds, hides or links away a file of the release."""
    archive.layers.append(layer)
    assert message in archive.refusal()


def test_a_hard_link_in_place_of_an_engine(archive: ImageArchive) -> None:
    """A hard link in place of an engine is refused."""
    archive.kind = tarfile.LNKTYPE
    archive.layers[0] = [("bin/sh", b"#!")]
    archive.layers.append([("opt/hil/release/engines/a-fp32.plan", "bin/sh")])
    assert "is not a regular file" in archive.refusal()


def test_a_layer_that_the_image_does_not_name(archive: ImageArchive) -> None:
    """A layer whose digest is not in the image's config is refused."""
    other = tar_of([(archive.inside("engines/a-fp32.plan"), b"another")])
    message = archive.refusal(lambda members: members.update({"1/layer.tar": other}))
    assert "is not the one that its image names" in message


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
def test_an_incomplete_archive(archive: ImageArchive, change: Callable[[dict[str, bytes]], object]) -> None:
    """An archive with a missing or malformed member is refused as incomplete."""
    assert "not a complete archive of an image" in archive.refusal(change)


def test_a_truncated_or_changed_archive(archive: ImageArchive) -> None:
    """An archive that is truncated anywhere, has a changed byte in a layer, or does not exist is refused."""
    path = archive.save()
    content = path.read_bytes()
    for length in range(0, content.rindex(b"manifest.json"), 997):
        path.write_bytes(content[:length])
        with pytest.raises(DeployRefused):
            image.verified(path, archive.release)
    at = content.index(ENGINE)
    path.write_bytes(content[:at] + b"x" + content[at + 1 :])
    with pytest.raises(DeployRefused, match="is not the one that its image names"):
        image.verified(path, archive.release)
    with pytest.raises(DeployRefused, match="No such file"):
        image.verified(path.with_name("gone.tar"), archive.release)
