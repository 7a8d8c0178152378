#!/usr/bin/env python3
"""Writes the page's files as a C table: embed.py OUTPUT.c FILE..."""

import pathlib
import sys

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


def array(name: str, data: bytes) -> str:
    lines = [f"static const unsigned char {name}[] = {{"]
    for at in range(0, len(data), 16):
        lines.append("    " + ", ".join(f"0x{byte:02x}" for byte in data[at:at + 16]) + ",")
    lines.append("};")
    return "\n".join(lines)


def main(output: str, paths: list[str]) -> None:
    parts = ['#include "web/assets.h"', ""]
    table = ["const struct fw_web_asset fw_web_assets[] = {"]
    for index, path in enumerate(map(pathlib.Path, paths)):
        name = f"file_{index}"
        served_as = "/" if path.name == "index.html" else "/" + path.name
        parts += [array(name, path.read_bytes()), ""]
        table.append(
            f'    {{"{served_as}", "{CONTENT_TYPES[path.suffix]}", {name}, sizeof {name}}},'
        )
    table += ["    {0},", "};", ""]
    pathlib.Path(output).write_text("\n".join(parts + table))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
