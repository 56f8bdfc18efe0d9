"""External data: searched wherever ONNX allows a tensor, and covered by an addressed model's digest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from hil.compare_files import compare
from hil.errors import UserError
from hil.files.digests import file_digest
from hil.onnx_files.external_data import addressed, external_files, is_whole, save
from hil.onnx_files.signature import LARGEST
from hil.results import Verdict
from tests.models import convnet, externalize, point_to

if TYPE_CHECKING:
    from pathlib import Path


def _model(path: Path, location: str = "w.bin", **numbers: int) -> Path:
    """Write a model with one weight, whose external data is at ``location``."""
    weight = point_to(numpy_helper.from_array(np.ones(4, np.float32), "w"), location, **numbers)
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", value[:1], value[1:], [weight])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def _everywhere(path: Path) -> Path:
    """Write a model with a tensor at each place that ONNX allows, each in its own file."""
    names = ["initializer", "constant", "branch", "deep", "local", "listed", "sparse", "indices", "sparse_attribute"]
    tensors = {name: point_to(numpy_helper.from_array(np.ones(4, np.float32), name), f"{name}.bin") for name in names}

    def constant(name: str, output: str) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [output], value=tensors[name])

    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])
    inner = helper.make_graph([constant("deep", "y")], "inner", [], [out])
    loop = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    branch = helper.make_graph([loop], "then", [], [out], [tensors["branch"]])
    sparse = helper.make_sparse_tensor(tensors["sparse"], tensors["indices"], [4])
    attribute = helper.make_sparse_tensor(tensors["sparse_attribute"], tensors["indices"], [4])
    nodes = [
        constant("constant", "k"),
        helper.make_node("Constant", [], ["s"], sparse_value=attribute),
        helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch),
        helper.make_node("Many", ["x"], ["m"], domain="own", values=[tensors["listed"]]),
        helper.make_node("Mine", ["x"], ["y"], domain="own"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])]
    graph = helper.make_graph(nodes, "g", inputs, [out], [tensors["initializer"]], sparse_initializer=[sparse])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Mine", ["x"], ["y"], [constant("local", "y")], sets[:1])
    path.write_bytes(helper.make_model(graph, opset_imports=sets, functions=[function]).SerializeToString())
    for name in tensors:
        (path.parent / f"{name}.bin").write_bytes(bytes(16))
    return path


def test_every_place_of_a_tensor(tmp_path: Path) -> None:
    """The files of all tensors are found: initializers, attributes, subgraphs and local functions."""
    files = external_files(_everywhere(tmp_path / "m.onnx"))
    names = ["branch", "constant", "deep", "indices", "initializer", "listed", "local", "sparse", "sparse_attribute"]
    assert [file.location for file in files] == [f"{name}.bin" for name in names]
    assert [file.path for file in files] == [tmp_path / f"{name}.bin" for name in names]


def test_one_file_of_many_tensors(tmp_path: Path) -> None:
    """A file with all weights is listed once; a model with its weights inside has no external data."""
    model = convnet(tmp_path / "m.onnx")
    assert external_files(model) == ()
    data = externalize(model, "m.bin")
    assert [(file.location, file.path) for file in external_files(model)] == [("m.bin", data)]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("absent.bin", r"cannot read the external data .*absent\.bin \(No such file"),
        ("n" * 300, r"cannot read the external data .* \(File name too long\)"),
        ("", "'' of external data is not a path in the model's folder"),
        ("../w.bin", r"'\.\./w\.bin' of external data is not a path in the model's folder"),
        ("a/../../w.bin", "is not a path in the model's folder"),
        ("/etc/hostname", "'/etc/hostname' of external data is not a path in the model's folder"),
        ("w\0.bin", "is not a path in the model's folder"),
        ("folder", "folder is not a regular file"),
        ("pipe", "pipe is not a regular file"),
        ("link.bin", r"link\.bin is a link out of the model's folder"),
        ("away/w.bin", "is a link out of the model's folder"),
        ("short.bin", r"short\.bin has 8 bytes, its tensors need 16"),
    ],
)
def test_invalid_locations(tmp_path: Path, location: str, message: str) -> None:
    """An invalid location is refused with one message that names model, file and remedy."""
    folder, away = tmp_path / "models", tmp_path / "away"
    (folder / "folder").mkdir(parents=True)
    away.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "short.bin").write_bytes(bytes(8))
    for file in (away / "w.bin", tmp_path / "w.bin"):
        file.write_bytes(bytes(16))
    (folder / "link.bin").symlink_to("../away/w.bin")
    (folder / "away").symlink_to("../away")
    with pytest.raises(UserError, match=message) as caught:
        external_files(_model(folder / "m.onnx", location, length=16))
    assert f"model {folder / 'm.onnx'}: " in str(caught.value)


@pytest.mark.parametrize("length", [8, 20])
def test_a_length_that_contradicts_the_shape_is_refused(tmp_path: Path, length: int) -> None:
    """A length that is not that of the tensor's shape and type is refused before any runtime reads the file."""
    model = _model(tmp_path / "m.onnx", length=length)
    (tmp_path / "w.bin").write_bytes(bytes(32))
    with pytest.raises(UserError, match=rf"has a length of {length} bytes, its shape \[4\] and type need 16: .*again"):
        external_files(model)


@pytest.mark.parametrize(("kind", "size"), [("FLOAT", 16), ("FLOAT16", 8), ("INT4", 2), ("FLOAT4E2M1", 2), ("BOOL", 4)])
def test_without_a_length_the_shape_counts(tmp_path: Path, kind: str, size: int) -> None:
    """A file that is shorter than a tensor's shape and type require is refused, also if no length is written."""
    model = onnx.load(str(_model(tmp_path / "m.onnx", offset=3)), load_external_data=False)
    model.graph.initializer[0].data_type = TensorProto.DataType.Value(kind)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "w.bin").write_bytes(bytes(size + 3))
    assert len(external_files(tmp_path / "m.onnx")) == 1
    (tmp_path / "w.bin").write_bytes(bytes(size + 2))
    with pytest.raises(UserError, match=f"has {size + 2} bytes, its tensors need {size + 3}"):
        external_files(tmp_path / "m.onnx")


@pytest.mark.parametrize(("offset", "length"), [(-1, 0), (0, -5)])
def test_invalid_offsets_and_lengths(tmp_path: Path, offset: int, length: int) -> None:
    """A negative offset or length is rejected."""
    (tmp_path / "w.bin").write_bytes(bytes(16))
    with pytest.raises(UserError, match="no valid offset and length"):
        external_files(_model(tmp_path / "m.onnx", offset=offset, length=length))


def test_a_whole_model_that_is_a_link(tmp_path: Path) -> None:
    """Model and data may be links into a store of files named by content, as in a model hub's cache."""
    store, snapshot = tmp_path / "blobs", tmp_path / "snapshots/main"
    store.mkdir()
    snapshot.mkdir(parents=True)
    _model(store / "aa")
    (store / "bb").write_bytes(bytes(16))
    (snapshot / "m.onnx").symlink_to("../../blobs/aa")
    (snapshot / "w.bin").symlink_to("../../blobs/bb")
    assert [file.path for file in external_files(snapshot / "m.onnx")] == [snapshot / "w.bin"]


def test_a_link_to_a_model_with_its_weights_there(tmp_path: Path) -> None:
    """If ``current.onnx`` links to a release's file, its weights are next to that file or in a linked folder."""
    release = tmp_path / "v3"
    release.mkdir()
    _model(release / "m.onnx")
    (release / "w.bin").write_bytes(bytes(16))
    (tmp_path / "current.onnx").symlink_to("v3/m.onnx")
    (tmp_path / "latest").symlink_to("v3")
    assert external_files(tmp_path / "current.onnx")[0].path.samefile(release / "w.bin")
    assert external_files(tmp_path / "latest/m.onnx")[0].path.samefile(release / "w.bin")


def test_an_onnx_file_over_protobufs_limit(tmp_path: Path) -> None:
    """An ONNX file over 2 GiB is refused with the remedy."""
    model = tmp_path / "large.onnx"
    with model.open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(UserError, match=r"protobuf files have 2 GiB at most.*save it with its weights"):
        external_files(model)


def test_an_addressed_models_digest_covers_its_weights(tmp_path: Path) -> None:
    """Other weights give another digest, equal weights the same; the user's files are not changed."""
    model = convnet(tmp_path / "m.onnx")
    assert addressed(model, tmp_path / "cache") == model
    data = externalize(model)
    before = data.read_bytes(), model.read_bytes()
    whole = addressed(model, tmp_path / "cache")
    first = file_digest(whole)
    assert [file.location for file in external_files(whole)] == [file_digest(data)]
    assert whole.name == model.name
    assert first != file_digest(model)
    assert file_digest(addressed(model, tmp_path / "cache")) == first
    assert (data.read_bytes(), model.read_bytes(), data.stat().st_nlink) == (*before, 1)
    for tensor, original in zip(onnx.load(whole).graph.initializer, onnx.load(model).graph.initializer, strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), numpy_helper.to_array(original))
    data.write_bytes(bytes(len(before[0])))
    assert file_digest(addressed(model, tmp_path / "cache")) != first
    assert len(list(whole.parent.iterdir())) == 2  # the former weights were deleted


def test_a_copy_is_hashed_when_it_is_used_again(tmp_path: Path) -> None:
    """A copy that was changed is replaced before it is used."""
    model = convnet(tmp_path / "m.onnx")
    data = externalize(model)
    copy = addressed(model, tmp_path / "cache").parent / file_digest(data)
    copy.write_bytes(bytes(data.stat().st_size))
    assert not is_whole(copy.parent / model.name)
    assert is_whole(addressed(model, tmp_path / "cache"))
    assert copy.read_bytes() == data.read_bytes()


def test_every_location_of_a_copy_is_a_digest(tmp_path: Path) -> None:
    """In an addressed copy, every external tensor's file is named by its digest; equal contents are one file."""
    whole = addressed(_everywhere(tmp_path / "m.onnx"), tmp_path / "cache")
    assert [file.location for file in external_files(whole)] == [file_digest(tmp_path / "deep.bin")]


@pytest.mark.parametrize("most", [0, 2**20])
def test_a_model_is_saved_as_its_size_requires(tmp_path: Path, most: int) -> None:
    """Weights over ``most`` bytes go to a file named by its digest; loading returns them; the model is unchanged."""
    proto = onnx.load(convnet(tmp_path / "m.onnx"))
    proto.graph.initializer.append(numpy_helper.from_array(np.arange(1000, dtype=np.float32), "large"))
    before = proto.SerializeToString(deterministic=True)
    save(proto, tmp_path / "out.onnx", most)
    assert proto.SerializeToString(deterministic=True) == before
    assert len(external_files(tmp_path / "out.onnx")) == (most == 0)
    assert is_whole(tmp_path / "out.onnx")
    loaded = {
        tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(tmp_path / "out.onnx").graph.initializer
    }
    for tensor in proto.graph.initializer:
        np.testing.assert_array_equal(loaded[tensor.name], numpy_helper.to_array(tensor))


def test_two_files_side_by_side(tmp_path: Path) -> None:
    """``hil parity`` opens models with external data, also through links, and names a missing file."""
    model, elsewhere = convnet(tmp_path / "m.onnx"), tmp_path / "v3"
    elsewhere.mkdir()
    np.savez(tmp_path / "data.npz", image=np.random.default_rng(1).normal(size=(3, 2, 6, 6)).astype(np.float32))
    data = externalize(convnet(elsewhere / "o.onnx"))
    (tmp_path / "current.onnx").symlink_to("v3/o.onnx")
    for other in (elsewhere / "o.onnx", tmp_path / "current.onnx"):
        judgement = compare(model, other, tmp_path / "data.npz", "fp32").judge()
        assert judgement.verdict is Verdict.PASSED, judgement.reason
    data.unlink()
    with pytest.raises(UserError, match=r"cannot read the external data .*o\.onnx\.data"):
        compare(model, elsewhere / "o.onnx", tmp_path / "data.npz", "fp32")
