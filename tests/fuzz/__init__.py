"""Mutated inputs of every kind that is read: each must give correct data or an error of ours.

    python -m tests.fuzz --list
    python -m tests.fuzz npy tsv --cases 5000 --json figures.json
    python -m tests.fuzz npy --seed 0 --case 1234          # one alone, with its traceback

A kind (:class:`tests.fuzz.kinds.Kind`) says how its valid seeds are made, how they are mutated, and
how the mutated one is read through the public code. :mod:`tests.fuzz.runner` runs the cases in a
forked process, so that a crash, a hang or a full memory is counted and not the end.
"""
