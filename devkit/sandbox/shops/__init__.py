"""Mocks of the shop systems that place the order: Commerce Layer and Payway."""
