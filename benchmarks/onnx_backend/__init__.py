"""ONNX's own test cases, judged by hil."""
