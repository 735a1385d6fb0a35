"""What a machine's service can be asked and what it answers, declared once; `openapi.json` is made from it."""
