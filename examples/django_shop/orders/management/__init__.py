"""For cron."""
