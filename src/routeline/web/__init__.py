"""The explorer: a page in the browser over the same calls as the command line. Needs the extra [web]."""
