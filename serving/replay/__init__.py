"""Decides once more what was decided: by the log, the release and the catalogue of then, through the gateway's own code."""
