"""The protocol between host and agent: frames, arrays, shared memory."""
