"""Captioned pictures that somebody gave or put together to train models from: one zip in the store and one row each."""
