"""MCP over streamable HTTP, both eras, on one URL."""
