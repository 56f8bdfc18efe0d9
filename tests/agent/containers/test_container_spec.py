"""Container descriptions, the engine's command line, and the meaning of its errors; nothing is run."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hil.agent.containers import container_spec
from hil.agent.containers.container_spec import Container, Image, Mounts, Order
from hil.agent.failure import Failure
from hil.agent.store.build_records import key_facts, key_of
from hil.config.spec import ContainerSpec, TargetSpec
from hil.targets.start_agent import agent_arguments

DIGEST = "sha256:" + "0123456789abcdef" * 4
REQUESTED = Container("docker", "nvcr.io/nvidia/l4t-tensorrt:r8.6.2-runtime", ("--runtime", "nvidia"), "python3")
MOUNTS = Mounts("/home/hil/agent.pyz", "/home/hil/store", ("/home/hil/store/tmp",))


@pytest.mark.parametrize(
    "name",
    [
        "ubuntu",
        "dustynv/l4t-pytorch:r36.4.0",
        "nvcr.io/nvidia/l4t-tensorrt:r8.6.2-runtime",
        "localhost:5000/team/my_image__a--b.c:Tag_1.2-3",
        "lab.example/robot@" + DIGEST,
        "robot:v1@" + DIGEST,
        DIGEST,
    ],
)
def test_images_are_named_as_engines_name_them(name: str) -> None:
    """A reference has host, port, path, tag and digest, or is an image's id."""
    assert container_spec.is_reference(name)


@pytest.mark.parametrize(
    "name",
    ["", "-v", "--privileged", "a b", "a\n", "a;b", "A", "a/", "/a", "a:", "a@sha256:12", "a//b", "../a", "a" * 513],
)
def test_invalid_references_are_refused(name: str) -> None:
    """Text that is not an image reference is rejected, above all text that the engine would read as an option."""
    assert not container_spec.is_reference(name)
    with pytest.raises(Failure, match="is not an image reference"):
        container_spec.parse(json.dumps(REQUESTED._replace(image=name)._asdict()))


@given(
    st.text(string.ascii_letters + string.digits + "-_./:@ \n\t=", max_size=40)
    | st.from_regex(r"[-=]?[a-z0-9]+(/[a-z0-9]+)?(:[ \n\t]?[0-9.]+)?", fullmatch=True)
)
@example("registry.example/robots/base:1.2")
def test_no_image_is_ever_an_option(name: str) -> None:
    """An accepted image begins with a letter or digit and contains neither spaces nor equals signs."""
    if container_spec.is_reference(name):
        assert name[0].isalnum()
        assert not set(name) & set(" \n\t=")
    else:
        assert name != "registry.example/robots/base:1.2"


@given(st.text(max_size=60) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_invalid_descriptions_are_refused(text: str) -> None:
    """Any text that is not a valid description raises ``Failure``, and no other exception."""
    with pytest.raises(Failure):
        container_spec.parse(text)


@pytest.mark.parametrize(
    "wrong",
    [{"engine": "sh"}, {"args": "--privileged"}, {"args": [1]}, {"args": ["a\0b"]}, {"python": "-c"}, {"python": ""}],
)
def test_each_part_is_checked(wrong: dict[str, object]) -> None:
    """The engine must be docker or podman, args a list of strings, and the interpreter not an option."""
    with pytest.raises(Failure):
        container_spec.parse(json.dumps({**REQUESTED._asdict(), **wrong}))


def test_the_agent_gets_the_configured_container() -> None:
    """The agent is started with exactly the container of the config."""
    spec = TargetSpec(container=ContainerSpec(engine="docker", image=REQUESTED.image, args=REQUESTED.args))
    words = agent_arguments(spec)
    assert container_spec.parse(words[words.index("--container") + 1]) == REQUESTED
    assert "--container" not in agent_arguments(TargetSpec())


def test_the_command_is_as_documented() -> None:
    """A container has no privileges, no network and no pull; its store is read-only with writable scratch folders."""
    user_options = container_spec.account("docker", 1000, 1000, [44, 104])
    order = Order(REQUESTED, Image(DIGEST, "27.1"), MOUNTS, tuple(user_options))
    words = container_spec.run_words(order, "hil-1", "/home/hil/store/tmp/worker-1")
    assert " ".join(words) == (
        "docker run --rm --pull never --name hil-1 --cidfile /home/hil/store/tmp/worker-1/id --network none "
        "--user 1000:1000 --group-add 44 --group-add 104 "
        "--mount type=bind,source=/home/hil/store,target=/home/hil/store,readonly "
        "--mount type=bind,source=/home/hil/agent.pyz,target=/home/hil/agent.pyz,readonly "
        "--mount type=bind,source=/home/hil/store/tmp,target=/home/hil/store/tmp "
        f"--runtime nvidia {DIGEST} python3 -B /home/hil/agent.pyz --inside /home/hil/store/tmp/worker-1"
    )


def test_rootless_podman_keeps_the_users_ids() -> None:
    """Rootless podman gets only the user's own groups."""
    assert container_spec.account("podman", 1000, 1000, [44]) == ["--userns", "keep-id", "--group-add", "keep-groups"]
    assert container_spec.account("podman", 0, 0, [44]) == ["--user", "0:0", "--group-add", "44"]


@pytest.mark.parametrize("store", ["/a,readonly=false", '/a"b', "/a\nb"])
def test_a_path_that_would_be_an_option_is_refused(store: str) -> None:
    """A path that the comma-separated syntax of --mount cannot express is rejected."""
    with pytest.raises(Failure, match="cannot be mounted"):
        MOUNTS._replace(store=store).options()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "this user may not use docker",
        ),
        (
            "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "this user may not use docker",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "docker is not running",
        ),
        ("Error response from daemon: No such image: a:latest", "docker has no image nvcr.io"),
        ("Error: No such image: a", "docker has no image nvcr.io"),
        ("Error: a: image not known", "docker has no image nvcr.io"),
        ("something new", "docker failed: something new"),
    ],
)
def test_image_errors_are_distinguished(output: str, message: str) -> None:
    """The message names the cause of an image error, as docker and podman of several versions word it."""
    assert container_spec.image_trouble(REQUESTED, output).message.startswith(message)


@pytest.mark.parametrize(
    ("code", "output", "message"),
    [
        (
            127,
            'docker: Error response from daemon: exec: "python3": executable file not found in $PATH: unknown.',
            "has no python3",
        ),
        (127, "Error: crun: executable file `python3` not found in $PATH: No such file or directory", "has no python3"),
        (126, "Error: crun: open executable: Permission denied", "python3 of image .* cannot be executed"),
        (1, "exec /usr/bin/python3: exec format error", "built for another architecture"),
        (255, "standard_init_linux.go:228: exec user process caused: exec format error", "another architecture"),
        (1, 'File "/a/agent.pyz/hil_agent/wire.py", line 9 | SyntaxError: invalid syntax', "is older than Python 3.6"),
        (125, "docker: Error response from daemon: Unknown runtime specified nvidia.", "Unknown runtime .* nvidia"),
        (137, "", r"\(exit code 137\): it wrote nothing"),
    ],
)
def test_start_errors_are_distinguished(code: int, output: str, message: str) -> None:
    """The cause is found by exit code and output; unknown output is repeated in the message."""
    with pytest.raises(Failure, match=message):
        raise container_spec.start_trouble(REQUESTED, code, output)


def test_args_are_not_reported() -> None:
    """Only a digest of args is reported, since they may contain secrets."""
    libraries = {"numpy": "1", "runtimes": {"tensorrt": "10.3.0"}}
    image = Image(DIGEST, None)
    first, second = (
        container_spec.with_container(REQUESTED._replace(args=("--env", f"TOKEN={secret}")), image, libraries)[
            "container"
        ]
        for secret in ("hunter2", "hunter3")
    )
    assert "hunter" not in json.dumps(first)
    assert first["args_digest"] != second["args_digest"]
    assert first["version"] is None


def test_an_image_is_part_of_the_key() -> None:
    """A different image, different args, and no container each give a different key."""
    libraries = {"numpy": "1", "runtimes": {"onnxruntime": "1"}}
    request = {"model": "a" * 64, "precision": "fp32", "runtime": "onnxruntime", "options": {}}

    def key(container: Container, digest: str) -> str:
        facts = container_spec.with_container(container, Image(digest, None), libraries)
        return key_of(key_facts(request, facts, None))

    keys = [key_of(key_facts(request, libraries, None)), key(REQUESTED, DIGEST), key(REQUESTED, DIGEST[::-1])]
    keys.append(key(REQUESTED._replace(args=("--env", "A=1")), DIGEST))
    assert len(set(keys)) == 4
    assert key(REQUESTED._replace(image="hil-test:same"), DIGEST) == keys[1]
