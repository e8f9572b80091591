"""Turns a prompt into a picture. See params.py (what can be set) and registry.py (what there is)."""
