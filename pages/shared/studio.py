"""The studio as this process of the web app has it open: one connection for all sessions, and the configuration."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import sqlalchemy as sa
import streamlit as st
from pydantic import ValidationError

from db import engine, rules
from db.artefacts import Store
from db.errors import DbError
from db.rules import Rules
from generator.inventory import wrong_default
from settings import Settings


@dataclass(frozen=True)
class Studio:
    """What every page needs: the configuration, the database and the artefact store."""

    settings: Settings
    db: sa.Engine
    store: Store


@st.cache_resource(show_spinner=False)
def the_studio() -> Studio:
    """One connection for all sessions of this process. Raises DatabaseUnavailable, DatabaseTooNew, StoreUnavailable."""
    settings = Settings()
    trouble = wrong_default(settings.default_engine, settings.default_checkpoint, settings.checkpoints_dir)
    if trouble is not None:
        logging.getLogger(__name__).warning(trouble)
    return Studio(settings, engine.connect(settings.database_url), Store(settings.store_url))


def house_rules() -> Rules:
    """What the host has set, as it is now."""
    return rules.get(the_studio().db)


def has_host() -> bool:
    """Whether there is a Host page: a password is set, or Streamlit's own login and whom to let in."""
    try:
        settings = _settings()
    except ValidationError:
        return False  # the page itself says what is wrong
    return bool(settings.host_password) or (bool(settings.host_emails.strip()) and login_is_set_up())


def _settings() -> Settings:
    """Those of the studio, read once; read anew where the database or the store cannot be opened."""
    try:
        return the_studio().settings
    except DbError:
        return Settings()


def login_is_set_up() -> bool:
    """Whether the secrets configure Streamlit's own login (OpenID Connect)."""
    try:
        return "auth" in st.secrets
    except FileNotFoundError:
        return False
