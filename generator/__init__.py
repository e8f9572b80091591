"""Turns a prompt into a picture. See params (what can be set) and registry (what there is)."""
