"""The same tool on the official SDK: what a real upstream costs. python -m bench.upstream_sdk PORT"""

import sys

import uvicorn
from mcp.server.mcpserver import MCPServer

server = MCPServer("echo", log_level="ERROR")


@server.tool()
def sdk_echo(text: str) -> str:
    """Returns its text."""
    return "echo:" + text


if __name__ == "__main__":
    application = server.streamable_http_app(json_response=True, stateless_http=True)
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
