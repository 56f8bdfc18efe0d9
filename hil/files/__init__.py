"""Files read and written so that what they hold is known: digests, seals, strict JSON."""
