"""ONNX files: their inputs and outputs, their parts, and the reference outputs."""
