"""The first trial of a search, the study as it is: one of several processes makes it.

Whoever holds the lock on a file beside the journal makes it, and holds the lock until its search
ends. The system frees the lock of a process that is killed, so that the next one makes the trial
anew and not one of those that run at its side.
"""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

LOCK = "first-trial.lock"


class FirstTrial:
    """Whether the study as it is has still to be tried, by this process.

    Args:
        search: the study of Optuna; its trials say under `settings` what they set.
        folder: of the journal, which all processes see.
    """

    def __init__(self, search: Any, folder: Path) -> None:
        self._search, self._tried = search, False
        self._held = (folder / LOCK).open("a")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._held.close()

    def due(self) -> bool:
        """Return whether the next trial is the first one; a killed attempt at it counts failed.

        An attempt that failed is repeated by the next search, once.
        """
        if self._tried or self._made() or not self._locked():
            return False
        self._tried = True
        if self._made():  # before the lock was free
            return False
        for trial in self._attempts():
            if not trial.state.is_finished():
                self._search.tell(trial.number, state=type(trial.state).FAIL)
        return True

    def _made(self) -> bool:
        return any(trial.state.name in ("COMPLETE", "PRUNED") for trial in self._attempts())

    def _attempts(self) -> list[Any]:
        trials = self._search.get_trials(deepcopy=False)
        return [trial for trial in trials if trial.user_attrs.get("settings") == {}]

    def _locked(self) -> bool:
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks: rather twice than never
            return True
        return True
