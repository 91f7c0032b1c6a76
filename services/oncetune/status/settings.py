"""Status's settings, read once in `main.py`."""

from pydantic_settings import SettingsConfigDict

from oncetune.settings import ServiceSettings


class StatusSettings(ServiceSettings):
    """The names that every service shares; status has none of its own yet."""

    model_config = SettingsConfigDict(env_prefix="ONCETUNE_STATUS_")
