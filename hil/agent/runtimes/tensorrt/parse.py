"""ONNX file to network; parser errors become one message with each node's name, operator and opset."""

import re
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from ...failure import BUILD, Failure, short
from . import api, onnx_file

SHOWN = 3  # errors of the parser; later ones mostly follow from the first
OPERATOR = re.compile(r"(?:registered for op|[Uu]nsupported (?:op|operator)|find plugin):?\s*'?(\w+)")
ADVICE = (
    # First: the newer parsers report a missing weights file as an unsupported node.
    (
        r"external|[Ff]ailed to open.*file|weights? file|[Ff]ailed to import initializer",
        "save the model with its weights inside the ONNX file, or in one file next to it",
    ),
    (
        r"No importer registered|[Uu]nsupported op|not find plugin|creator.*not found|UNSUPPORTED_NODE\b",
        "replace the operator, or add a plugin library that has it to plugins in [models.M.build]",
    ),
    (
        r"(?i:deserializ)|Failed to parse (?:the )?ONNX|protobuf",
        "check that the file was copied whole; if it is newer than the parser, export it with an older opset",
    ),
    (r"[Oo]pset|IR version|newer", "export the model with an older opset"),
    (r"INT64|DOUBLE|UINT8|data ?type|dtype|type", "change the node's types to float32 or int32 in the ONNX file"),
    (r"[Dd]ynamic|shape", "export the model with fixed shapes, or simplify it (constant folding), and build again"),
)
OTHERWISE = "export the model with another opset, or replace the node"


class ParserError(NamedTuple):
    """One error of the parser; ``index`` counts the main graph's nodes, None if no node is concerned."""

    text: str
    index: Optional[int]
    name: Optional[str]
    op: Optional[str]


def parse(trt: Any, network: Any, log: Any, path: str) -> Any:
    """Fill ``network`` from the ONNX file; return the parser, which holds weights and must outlive the build.

    Raise ``Failure``, with the parser's own message, if the file cannot be parsed, or if the network has no outputs.
    """
    parser = trt.OnnxParser(network, log)
    # Parse the file, not its bytes: external data is found next to it, and the file is not in memory twice.
    if hasattr(parser, "parse_from_file"):
        parsed = parser.parse_from_file(path)
    else:
        with open(path, "rb") as file:
            parsed = parser.parse(file.read(), path)
    if not parsed:
        errors = [_error(parser.get_error(index)) for index in range(parser.num_errors)]
        raise refusal(errors, _file(path), log.errors())
    if not network.num_outputs:
        raise Failure(
            BUILD, "the network has no outputs after parsing", "append the tensors that it computes to graph.output"
        )
    return parser


def _error(error: Any) -> ParserError:
    index, name, op = api.error_node(error)
    return ParserError("%s: %s" % (_code(error), short(error.desc(), 500)), index, name, op)


def _code(error: Any) -> str:
    return str(error.code()).rsplit(".", 1)[-1]


def _file(path: str) -> Optional[onnx_file.OnnxFile]:
    try:
        return onnx_file.read(path)
    except (OSError, ValueError):
        return None


def refusal(errors: Sequence[ParserError], file: Optional[onnx_file.OnnxFile], log: str) -> Failure:
    """Return one failure for all of the parser's errors, or for TensorRT's ``log`` if the parser reports no error."""
    messages: List[str] = []
    for error in errors[:SHOWN]:
        where = _where(error, file)
        messages.append("%s: %s" % (where, error.text) if where else error.text)
    if len(errors) > SHOWN:
        messages.append("and %d more" % (len(errors) - SHOWN))
    words = "; ".join(messages) or log or "it gave no reason"
    version = None if file is None else file.opset()
    opset = "" if version is None else " (opset %d)" % version
    return Failure(BUILD, "TensorRT cannot parse the ONNX file%s: %s" % (opset, words), advice(words))


def advice(words: str) -> str:
    """Return the advice that matches the parser's message."""
    return next((what for pattern, what in ADVICE if re.search(pattern, words)), OTHERWISE)


def _where(error: ParserError, file: Optional[onnx_file.OnnxFile]) -> str:
    """Return, for example, ``node 'conv1' (Conv, opset 13)``, as far as parser and file identify the node.

    Return an empty text if they identify neither its name nor its operator.
    """
    name, op, domain = _node(error, file)
    if name is None and op is None:
        return ""
    known = None if file is None else file.opset(domain)
    of = "%s:%s" % (domain, op) if domain else op
    facts = ", ".join(part for part in (of, None if known is None else "opset %d" % known) if part)
    shown = "node %r" % name if name else "a node without a name" if error.index is None else "node %d" % error.index
    return "%s (%s)" % (shown, facts) if facts else shown


def _node(error: ParserError, file: Optional[onnx_file.OnnxFile]) -> Tuple[Optional[str], Optional[str], str]:
    """Return the node's name, operator and domain, from the parser or else from the file by its index.

    The file's node is not used if the error names another operator.
    """
    node = None
    if file is not None and error.index is not None and error.index < len(file.nodes):
        node = file.nodes[error.index]
    match = OPERATOR.search(error.text)
    operator = error.op or (match.group(1) if match else None)
    if node is not None and ((operator and operator != node.op) or (error.name and error.name != node.name)):
        node = None
    if node is not None:
        return error.name or node.name or None, node.op, node.domain
    return error.name, operator, ""
