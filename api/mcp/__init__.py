"""The studio for agents: tools of the Model Context Protocol, over stdio (`python -m api.mcp`) and under /mcp."""
