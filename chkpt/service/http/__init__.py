"""The API over HTTP: the application, its limits, and the client."""
