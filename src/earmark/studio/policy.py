"""Which requests the studio allows, and what browsers may load on its pages."""

from __future__ import annotations

from earmark.web.guard import HEADERS, Visitors

PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A report is a single file without scripts. Its figures, sounds and styles are inside.
REPORT_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self)",
}
VISITORS = Visitors(
    change_header=("x-earmark", "studio"),
    remedy="The studio answers on this machine only: open http://127.0.0.1 with the studio's port.",
)
