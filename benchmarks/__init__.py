"""How fast, how small, how far: ours beside the alternatives, one question a file, from one run.

python -m benchmarks --list
python -m benchmarks gather step --quick
"""
