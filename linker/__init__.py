"""Models of multimodal entity linking, and the experiments with them.

Training is ``linker.train.train``, scoring again ``linker.evaluate.evaluate``, comparing runs
``linker.report.table``; networks are in ``linker.models``. Importing this package imports no torch.
"""
