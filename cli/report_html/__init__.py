"""A store as one HTML file: ``drin-fs inspect STORE --html FILE``.

write.py      where the file goes, and when it stands there
page.py       what stands around the sections: head, style, contents
charts.py     drawings (SVG), each with a title and a description in words
picture.py    pictures inside the file, as data: addresses

The sections, each from the store to a piece of the page:
overview.py   counts, splits, how the store was made
present.py    which golds, pictures and texts there are
fields.py     sizes and norms of the fields; statistics of the features that are cheap to read whole
findings.py   what the audit found
plane.py      the map
gallery.py    sampled mentions with their candidates
runs.py       figures of runs, side by side
errors.py     what each run got wrong, by why

It shares elements, building blocks and style with the browser (``cli.web``). Nothing here imports torch.
"""
