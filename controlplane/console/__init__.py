"""The pages: one module a noun. Each parses, calls one function, renders. Everything works without JavaScript; htmx only speeds it up."""
