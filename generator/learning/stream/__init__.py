"""Captioned pictures, wherever they lie, as one kind of stream. Nothing here imports torch."""
