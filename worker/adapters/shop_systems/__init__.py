"""The APIs of Commerce Layer and Payway."""
