"""dcmirror: mirrors files from a dCache storage site as their upload events arrive.

To read the code, begin with what is decided and end with what does it:
``errors``, ``settings``, ``config``; ``core/`` (events, uploads, paths, filters, plan,
jobs, failures, retry, ledger, dispatch, holds); ``adapters/``; ``tasks/copy``;
``processes/`` (intake, worker, publisher, supervisor, logger); ``commands/``; ``cli``.
"""

__version__ = "0.1.0"
