"""Writes a C array of a file's bytes: embed.py FILE NAME HEADER."""

import pathlib
import sys

source, name, header = sys.argv[1:]
content = pathlib.Path(source).read_bytes()
lines = [content[at : at + 24] for at in range(0, len(content), 24)]
body = "\n".join("    " + ", ".join(map(str, line)) + "," for line in lines)
pathlib.Path(header).write_text(f"static const unsigned char {name}[{len(content)}] = {{\n{body}\n}};\n")
