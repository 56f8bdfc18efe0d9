"""What ``hil init`` proposes for a model: recognized from its signature, confirmed by trial runs of the reference."""
