"""ONNX files: what they take and give, what they consist of, and what the reference answers."""
