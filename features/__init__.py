"""The one source of truth for features: what they are (spec), where they are described (market), how they are assembled."""
