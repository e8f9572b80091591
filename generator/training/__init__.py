"""Recipes that make the embedded models: data, text tower, VQGAN, CLIP and prior."""
