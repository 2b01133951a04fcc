"""What a shop would write instead; measured in the same run."""
