"""Prints the address of the studio and its QR code, once it is ready: show_address.py HOST PORT."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import segno

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main() -> int:
    """Print it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    args = parser.parse_args()

    from pages.shared.address import is_for_itself, reachable_host
    from settings import Settings

    address = f"http://{reachable_host(args.host)}:{args.port}"
    if not is_for_itself(address, None, args.host):  # else no phone could open it
        segno.make(address, error="m").terminal(compact=True)
    print(f"Ready. Open {address}   (Ctrl-C stops)", flush=True)
    if Settings().api != "off":
        print(f"For programs: {address}/api/docs", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
