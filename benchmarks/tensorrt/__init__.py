"""Claims about TensorRT, measured on a real GPU: ``python -m benchmarks.tensorrt all --python PYTHON --out DIR``."""
