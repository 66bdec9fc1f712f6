"""One family of errors; each knows its exit code and says what is wrong, where, and how to mend it.

    GateError                 4  broken or refused input, internal error
    ├── UsageError            2  the command line asks for something impossible
    │   └── ConfigError       2  a file that people write (suite.toml, bundle.toml, policy.toml) is wrong
    ├── SuiteError            4  the exam is broken: frames, truths, splits
    ├── BundleError           4  the examined is broken: programs, predictions, shapes
    │   └── RefusedError      4  content that will not be loaded (pickles, native code)
    ├── LockError             4  bytes are not those that were frozen
    ├── EvidenceError         4  sums that cannot be represented, stored evidence that does not parse
    └── PublishError          4  a decision that GitHub did not take; it stands, whatever this says

An undecided or negative *decision* is not an error: exit codes 0, 1 and 3 come from the decision itself.
"""

from __future__ import annotations

from functools import partial


def shown(text: object, limit: int = 120) -> str:
    """`text` fit for one line of a terminal or log: controls and bidi marks escaped, at most `limit` characters."""
    escaped = str(text)
    if not escaped.isprintable():
        escaped = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in escaped)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


class GateError(Exception):
    """Something went wrong that a person can mend.

    `what` is the bare fact, `where` a file with line, key, head, frame or clip, `mend` the next step.
    """

    exit_code = 4

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what, where, mend)
        self.what, self.where, self.mend = what, where, mend

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders; keyword arguments would be lost on the way.
        return partial(type(self), where=self.where, mend=self.mend), (self.what,)

    @property
    def brief(self) -> str:
        """What is wrong and how to mend it, in one line."""
        return "; ".join(filter(None, (self.what, self.mend)))

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.mend:
            lines.append(f"  to mend: {self.mend}")
        return "\n".join(lines)


class UsageError(GateError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class SuiteError(GateError):
    pass


class BundleError(GateError):
    pass


class RefusedError(BundleError):
    pass


class LockError(GateError):
    pass


class EvidenceError(GateError):
    pass


class PublishError(GateError):
    pass
