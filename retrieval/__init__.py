"""From the whole catalogue to the few offers worth ranking, each with its source, each removal with its reason."""
