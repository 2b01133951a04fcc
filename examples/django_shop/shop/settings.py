"""As few settings as Django needs, from the environment."""

import os

SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["orders"]
USE_TZ = True

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
        # Who is to write says so at once: readers that turn into writers would fail instead.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

KLARNA_BASE_URL = os.environ.get("KLARNA_BASE_URL", "https://api.klarna.com")
KLARNA_USERNAME = os.environ["KLARNA_USERNAME"]
KLARNA_PASSWORD = os.environ["KLARNA_PASSWORD"]
