"""``python -m deployments.photos photo.jpg … -o DIR``."""

import sys

from deployments.photos.command import main

sys.exit(main())
