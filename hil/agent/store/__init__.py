"""Files by digest on the target, what was built from them, and who may use the target."""
