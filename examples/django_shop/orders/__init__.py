"""Orders: from the checkout to the order placed at Klarna."""
