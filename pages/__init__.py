"""The pages of the web app; `webapp.py` routes to them."""
