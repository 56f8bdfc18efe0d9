"""What ``hil init`` proposes for a model: recognized from its signature, and confirmed by trial runs of the reference.

``search.propose`` is the entry point. ``roles``, ``axes``, ``sizes``, ``families`` and ``graph_facts`` are pure
functions with tables that can be extended; ``trials`` runs the model in a child process.
"""
