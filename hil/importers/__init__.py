"""Importers of other tools' files that state requirements on a model."""
