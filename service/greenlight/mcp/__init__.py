"""MCP for planners: texts, tools, app."""
