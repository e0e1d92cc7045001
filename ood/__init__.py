"""Run Node.js sites on Linux, safely and without an interruption.

``twistd ood`` is the service (:mod:`ood.service`), ``ood`` its command line
(:mod:`ood.cli`).  ``docs/architecture.md`` shows how the parts fit.
"""

__version__ = "0.1.0"
