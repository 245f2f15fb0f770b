"""Forms of output of ``ldx detect``, each a Writer in a module of its own; ``detection.forms`` knows their names."""
