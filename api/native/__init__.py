"""The studio's own API, /api/v1."""

ROOT = "/api/v1"
