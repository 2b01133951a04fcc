"""What a shop would write instead: small, honest, and measured in the same run."""
