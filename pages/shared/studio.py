"""The studio as this process of the web app has it open: one connection for all sessions, and the configuration."""

from __future__ import annotations

import logging

import streamlit as st
from pydantic import ValidationError

from db import engine
from db.artefacts import Store
from db.errors import DbError
from db.rules import host_rules
from db.rules.host_rules import Rules
from generator.checkpoints.inventory import wrong_default
from settings import Settings
from studio.context import Studio


@st.cache_resource(show_spinner=False)
def the_studio() -> Studio:
    """One connection for all sessions of this process. Raises DatabaseUnavailable, DatabaseTooNew, StoreUnavailable."""
    settings = Settings()
    trouble = wrong_default(settings.default_engine, settings.default_checkpoint, settings.checkpoints_dir)
    if trouble is not None:
        logging.getLogger(__name__).warning(trouble)
    return Studio(settings, engine.connect(settings.database_url), Store(settings.store_url))


def the_settings() -> Settings:
    """Those of the studio, read once; read anew where the database or the store cannot be opened."""
    try:
        settings = the_studio().settings
    except DbError:
        return Settings()
    assert isinstance(settings, Settings)
    return settings


def house_rules() -> Rules:
    """What the host has set, as it is now."""
    return host_rules.get(the_studio().db)


def has_host() -> bool:
    """Whether there is a Host page: a password is set, or Streamlit's own login and whom to let in."""
    try:
        settings = the_settings()
    except ValidationError:
        return False  # the page itself says what is wrong
    return bool(settings.host_password) or (bool(settings.host_emails.strip()) and login_is_set_up())


def login_is_set_up() -> bool:
    """Whether the secrets configure Streamlit's own login (OpenID Connect)."""
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        return False
