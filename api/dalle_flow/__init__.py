"""DALL-E Flow (jina-ai/dalle-flow): `POST /post` answers as its gateway does, for docarray's and jina's clients."""
