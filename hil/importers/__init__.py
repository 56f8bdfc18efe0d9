"""Read files of other tools that state requirements on a model."""
