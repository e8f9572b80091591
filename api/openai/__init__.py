"""The OpenAI images API, /v1: generations, edits, variations and models, for clients written for it."""
