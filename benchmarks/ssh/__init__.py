"""What a network between host and board costs, shown with a real sshd on this machine: ``python -m benchmarks.ssh``."""
