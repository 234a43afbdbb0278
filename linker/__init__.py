"""Models of multimodal entity linking, and the experiments with them.

Training is ``linker.train.train``, scoring again ``linker.evaluate.evaluate``, comparing runs
``linker.report_rows.read_table``, looking at what a run got wrong ``linker.mistakes.mistakes``;
networks are in ``linker.models``. Importing this package imports no torch.
"""
