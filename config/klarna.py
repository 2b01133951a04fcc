"""Klarna accounts in the environment: one by default, any number by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode

from config.fields import ReadLimit, SecretText, Text
from config.urls import HttpUrl, Origin, ProxyUrl
from config.values import ENVIRONMENT, by_lower_cased_name, comma_list, nothing_if_blank
from worker.domain.tracking import DEFAULT_ACCOUNT

KLARNA_LIVE = "https://api.klarna.com"
# Klarna's six API hosts: docs.klarna.com, API URLs.
KLARNA_ORIGINS = (
    KLARNA_LIVE,
    "https://api-na.klarna.com",
    "https://api-oc.klarna.com",
    "https://api.playground.klarna.com",
    "https://api-na.playground.klarna.com",
    "https://api-oc.playground.klarna.com",
)


def account_variables(account: str) -> str:
    """Return what the names of an account's variables begin with."""
    if account == DEFAULT_ACCOUNT:
        return "KLARNA_"
    return f"KLARNA_ACCOUNTS__{account.upper()}__"


class KlarnaAccount(BaseModel):
    """One set of Klarna API credentials; they belong to one region and one environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    username: Annotated[Text, Field(min_length=1)]
    password: Annotated[SecretText, Field(min_length=1)]
    base_url: HttpUrl = KLARNA_LIVE
    read_limit: ReadLimit = None


class KlarnaSettings(BaseSettings):
    """Klarna accounts, and how Klarna is reached."""

    model_config = ENVIRONMENT

    klarna_username: Annotated[Text | None, BeforeValidator(nothing_if_blank)] = None
    klarna_password: Annotated[SecretText | None, BeforeValidator(nothing_if_blank)] = None
    klarna_base_url: HttpUrl = KLARNA_LIVE
    klarna_read_limit: ReadLimit = None
    klarna_accounts: Annotated[dict[str, KlarnaAccount], BeforeValidator(by_lower_cased_name)] = (
        Field(default_factory=dict)
    )
    klarna_quota_share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.75
    klarna_proxy_url: Annotated[ProxyUrl | None, BeforeValidator(nothing_if_blank)] = None
    klarna_allowed_origins: Annotated[
        tuple[Origin, ...], NoDecode, BeforeValidator(comma_list), Field(min_length=1)
    ] = KLARNA_ORIGINS

    @property
    def accounts(self) -> Mapping[str, KlarnaAccount]:
        """Every configured account by its lower-cased name."""
        named = dict(self.klarna_accounts)
        if self.klarna_username and self.klarna_password:
            named[DEFAULT_ACCOUNT] = KlarnaAccount(
                username=self.klarna_username,
                password=self.klarna_password,
                base_url=self.klarna_base_url,
                read_limit=self.klarna_read_limit,
            )
        return named

    @property
    def accounts_without_base_url(self) -> frozenset[str]:
        """Accounts whose base URL nobody set: Klarna's first host is taken."""
        unset = {
            name.lower()
            for name, account in self.klarna_accounts.items()
            if "base_url" not in account.model_fields_set
        }
        if "klarna_base_url" not in self.model_fields_set and DEFAULT_ACCOUNT in self.accounts:
            unset.add(DEFAULT_ACCOUNT)
        return frozenset(unset)

    @property
    def account_origins(self) -> Mapping[str, Collection[str]]:
        """Where the credentials of each account may go: to its base URL's origin alone.

        Without a base URL, to Klarna's hosts, as far as they are allowed.
        """
        klarnas = [origin for origin in self.klarna_allowed_origins if origin in KLARNA_ORIGINS]
        unset = self.accounts_without_base_url
        return {
            name: klarnas if name in unset else [account.base_url]
            for name, account in self.accounts.items()
        }

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> Self:
        if self.klarna_username and not self.klarna_password:
            raise ValueError("KLARNA_PASSWORD: is missing although KLARNA_USERNAME is set")
        if self.klarna_password and not self.klarna_username:
            raise ValueError("KLARNA_USERNAME: is missing although KLARNA_PASSWORD is set")
        if not self.accounts:
            raise ValueError("KLARNA_USERNAME: is missing, and KLARNA_PASSWORD with it")
        return self

    @model_validator(mode="after")
    def _base_urls_are_allowed(self) -> Self:
        for name, account in self.accounts.items():
            if account.base_url not in self.klarna_allowed_origins:
                variable = f"{account_variables(name)}BASE_URL"
                raise ValueError(f"{variable}: is not listed in KLARNA_ALLOWED_ORIGINS")
        return self
