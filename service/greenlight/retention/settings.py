"""Settings of retention: the secret key, which the HTTP service must not have."""

from pydantic_settings import BaseSettings

from greenlight.keys import SecretKey
from greenlight.settings import ENVIRONMENT, Origin


class RetentionSettings(BaseSettings):
    model_config = ENVIRONMENT

    supabase_url: Origin
    supabase_secret_key: SecretKey
