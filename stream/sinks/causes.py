"""Why something failed, in words that hold neither addresses nor secrets."""

from __future__ import annotations

import errno
import os
import ssl


def cause(error: BaseException | None) -> str:
    """What the system or OpenSSL calls it, else the kind of error; never its own words."""
    found = getattr(error, "certificate_error", getattr(error, "os_error", error))
    if isinstance(found, ssl.SSLCertVerificationError):
        # What follows the comma names the host.
        return f"its certificate is refused: {found.verify_message.partition(',')[0].lower()}"
    if isinstance(found, ssl.SSLError):  # Its number is OpenSSL's, not the system's.
        return f"no TLS: {(found.reason or 'unknown').replace('_', ' ').lower()}"
    number = error.errno if isinstance(error, OSError) else None
    if number is None or number not in errno.errorcode:
        return type(error).__name__
    return os.strerror(number).lower()
