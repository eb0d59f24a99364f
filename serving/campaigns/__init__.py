"""The campaign API: people and their programs look at what is sold, and change it, apart from the request path."""
