"""What Redis counts for all processes at once; nothing in it is missed when it is lost."""
