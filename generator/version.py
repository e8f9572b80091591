"""The project's version: pyproject.toml reads it here, every picture's metadata holds it, --version prints it."""

NAME = "text-to-image-studio"
VERSION = "0.1.0"
