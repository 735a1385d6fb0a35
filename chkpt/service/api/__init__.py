"""The requests and answers of a machine's service, declared once; `openapi.json` is made from the declarations."""
