"""A store in the browser: ``drin-fs inspect STORE --web``.

site.py       what all pages share: the store, the runs, and what is computed once
app.py        address → page; what goes wrong becomes a page too
guard.py      who may ask, and what a browser may do with an answer
serve.py      the socket, the server, and its end
html.py       elements; everything that is not one is escaped
pages/        one module a kind of page: site and parameters → page
static/       style and script, shipped as they are
"""
