"""A running machine as a service: HTTP and JSON on a Unix socket.

`api/openapi.json` describes the interface. The client needs only the standard library; the server needs starlette and
uvicorn.
"""
