"""The handbook at /docs: Markdown from docs/, tables from the code itself. Knows no tenant and asks no database."""
