"""Where samples come from: an ``.npz`` file, a folder of images, a callable, or a seed."""
