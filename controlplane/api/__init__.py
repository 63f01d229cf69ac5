"""REST under /api/v1: one module per noun. Each parses, calls one function, renders."""
