"""The console: web pages for the person on call. They read; only replay changes anything."""
