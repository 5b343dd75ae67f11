"""Settings of a builder: the secret key, which the HTTP service must not have."""

from pydantic_settings import BaseSettings

from greenlight.keys import SecretKey
from greenlight.settings import ENVIRONMENT, LogLevel, Origin


class BuilderSettings(BaseSettings):
    model_config = ENVIRONMENT

    supabase_url: Origin
    supabase_secret_key: SecretKey
    log_level: LogLevel = "info"
