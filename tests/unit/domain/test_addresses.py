"""Which addresses are the internet's: what a webhook may be sent to."""

from __future__ import annotations

import pytest

from worker.domain.addresses import is_public


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.215.14", "2606:4700::6810:84e5", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_addresses_of_the_internet_are_public(address: str):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::"),  # noqa: S104 - refused, not listened on
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "fec0::1"),
        *("169.254.169.254", "fe80::1", "fe80::1%eth0"),
        *("224.0.0.1", "239.1.2.3", "ff02::1", "ff0e::1", "255.255.255.255", "240.0.0.1"),
        *("192.0.2.1", "198.18.0.1", "2001:db8::1"),
    ],
)
def test_addresses_of_a_deployments_own_network_are_not(address: str):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:a00:1::1"],
)
def test_an_ipv6_address_that_carries_a_private_one_is_not(address: str):
    assert not is_public(address)
