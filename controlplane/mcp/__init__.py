"""MCP over streamable HTTP, in both eras, on one URL and without sessions: what a request says is all there is to know about it."""
