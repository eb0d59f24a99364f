"""The request path: an HTTP request becomes a decision."""
