"""A running machine as a service: HTTP and JSON on a Unix socket, and who finds it there.

`openapi.json` describes the interface. The client needs the standard library only; the server, starlette and uvicorn.
"""
