"""One module a kind of page: site and parameters → page."""
