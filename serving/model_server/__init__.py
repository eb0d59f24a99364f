"""A small server that speaks TF Serving's API, so that no Docker is needed."""
