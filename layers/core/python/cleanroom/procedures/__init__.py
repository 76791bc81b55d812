"""Which procedure each function serves: the one list behind HTTP routes, openapi.json and the docs."""
