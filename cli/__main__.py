"""``python -m cli`` is ``drin-fs``."""

import sys

from cli.main import main

sys.exit(main())
