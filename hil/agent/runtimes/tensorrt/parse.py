"""ONNX into a network; a parser's error becomes one message with the node's name, operator and opset."""

import re
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from ...failure import BUILD, Failure, short
from . import api, onnx_file

SHOWN = 3  # errors of the parser; what follows the first few comes of them
OPERATOR = re.compile(r"(?:registered for op|[Uu]nsupported (?:op|operator)|find plugin):?\s*'?(\w+)")
ADVICE = (
    (
        r"No importer registered|[Uu]nsupported op|not find plugin|creator.*not found|UNSUPPORTED_NODE\b",
        "replace the operator, or give a library that has it as a plugin: plugins in [models.M.build]",
    ),
    (r"external|[Ff]ailed to open.*file|weights? file", "save the model with its weights inside the ONNX file"),
    (
        r"deserializ|Failed to parse ONNX|protobuf",
        "export the model again: the file is damaged or newer than the parser",
    ),
    (r"[Oo]pset|IR version|newer", "export the model with an older opset"),
    (r"INT64|DOUBLE|UINT8|data ?type|dtype|type", "change the node's types to float32 or int32, and export again"),
    (r"[Dd]ynamic|shape", "export the model with fixed shapes, or simplify it (constant folding), and build again"),
)
OTHERWISE = "export the model with another opset, or replace the node"


class ParserError(NamedTuple):
    """One of the parser's errors; ``index`` counts the main graph's nodes, None where it is no node's."""

    text: str
    index: Optional[int]
    name: Optional[str]
    op: Optional[str]


def parse(trt: Any, network: Any, log: Any, path: str) -> Any:
    """Fills ``network`` from the ONNX file; returns the parser, which has to outlive the build (it holds weights).

    Raises ``Failure`` with the parser's own words.
    """
    parser = trt.OnnxParser(network, log)
    # From the file and not from bytes: weights beside it are looked for there, and it is not held twice.
    if hasattr(parser, "parse_from_file"):
        fine = parser.parse_from_file(path)
    else:
        with open(path, "rb") as file:
            fine = parser.parse(file.read(), path)
    if not fine:
        errors = [_error(parser.get_error(index)) for index in range(parser.num_errors)]
        raise refusal(errors, _file(path), log.errors())
    if not network.num_outputs:
        raise Failure(BUILD, "the network has no outputs after parsing", "export the model again")
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
    """One failure for all of the parser's errors; ``log`` is TensorRT's own text, used where there is none."""
    told: List[str] = []
    for error in errors[:SHOWN]:
        where = _where(error, file)
        told.append("%s: %s" % (where, error.text) if where else error.text)
    if len(errors) > SHOWN:
        told.append("and %d more" % (len(errors) - SHOWN))
    words = "; ".join(told) or log or "no reason told"
    version = None if file is None else file.opset()
    opset = "" if version is None else " (opset %d)" % version
    return Failure(BUILD, "TensorRT cannot parse the ONNX file%s: %s" % (opset, words), advice(words))


def advice(words: str) -> str:
    """What to try, by what the parser says."""
    return next((what for pattern, what in ADVICE if re.search(pattern, words)), OTHERWISE)


def _where(error: ParserError, file: Optional[onnx_file.OnnxFile]) -> str:
    """``node 'conv1' (Conv, opset 13)`` as far as parser and file tell."""
    name, op, domain = _node(error, file)
    if name is None and op is None:
        return ""
    known = None if file is None else file.opset(domain)
    of = "%s:%s" % (domain, op) if domain else op
    facts = ", ".join(part for part in (of, None if known is None else "opset %d" % known) if part)
    shown = "node %r" % name if name else "a node without a name" if error.index is None else "node %d" % error.index
    return "%s (%s)" % (shown, facts) if facts else shown


def _node(error: ParserError, file: Optional[onnx_file.OnnxFile]) -> Tuple[Optional[str], Optional[str], str]:
    """The parser's own name and operator, else the file's by the index: unless the text names another operator.

    An index that counts a subgraph's nodes would point at a stranger.
    """
    found = None
    if file is not None and error.index is not None and error.index < len(file.nodes):
        found = file.nodes[error.index]
    match = OPERATOR.search(error.text)
    said = error.op or (match.group(1) if match else None)
    if found is not None and ((said and said != found.op) or (error.name and error.name != found.name)):
        found = None
    if found is not None:
        return error.name or found.name or None, found.op, found.domain
    return error.name, said, ""
