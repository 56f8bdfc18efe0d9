"""Files of other tools that say what a model has to hold."""
