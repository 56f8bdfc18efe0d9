"""Claims about precision, judged on the ONNX file: ``python -m benchmarks.precision``."""
