"""What travels between host and agent: frames, arrays, shared memory."""
