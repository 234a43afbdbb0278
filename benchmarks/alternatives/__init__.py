"""Other ways of keeping the same arrays, each set up as its own documentation recommends.

One file a storage engine; packages are imported where they are used, so that a benchmark runs with
those that are installed and names the others.
"""
