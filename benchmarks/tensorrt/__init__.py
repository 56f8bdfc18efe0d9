"""What is claimed of TensorRT, on a real GPU: ``python -m benchmarks.tensorrt all --python PYTHON --out DIR``."""
