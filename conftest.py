"""This repository's own settings: none, since in an editable install whoever runs the stock suites gets them too."""
