"""A strict reader of Prometheus' text format 0.0.4."""
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)(?: (-?\d+))?")
TYPES = {"counter", "gauge", "histogram", "summary", "untyped"}


def parse(text):
    """{name: {"type", "help", "samples": {((label, value), …): number}}}. ValueError says what is
    wrong: order, doubled lines, bad escapes, a counter that does not end in _total, and so on."""
    families, current = {}, None
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    for number, line in enumerate(text[:-1].split("\n"), 1):
        try:
            current = _parse_line(line, families, current)
        except ValueError as error:
            raise ValueError(f"line {number}, {line!r}: {error}") from None
    for name, family in families.items():
        if not family["type"] or not family["help"]:
            raise ValueError(f"{name} has no TYPE or no HELP")
    return families


def _parse_line(line, families, current):
    if line.startswith("# HELP ") or line.startswith("# TYPE "):
        _, what, name, text = line.split(" ", 3)
        return _parse_comment(what.lower(), name, text, families, current)
    match = SAMPLE.fullmatch(line)
    if not match:
        raise ValueError("neither a comment nor a sample")
    name, labels = match[1], match[2] or ""
    if name != current:
        raise ValueError(f"a sample of {name} among those of {current}")
    pairs = tuple(sorted(re.findall(LABEL, labels)))
    if len({label for label, _ in pairs}) != len(pairs):
        raise ValueError("a label twice")
    samples = families[name]["samples"]
    if pairs in samples:
        raise ValueError("the same labels twice")
    samples[pairs] = float(match[match.re.groups - 1])
    if families[name]["type"] == "counter" and not samples[pairs] >= 0:
        raise ValueError("a counter below 0")
    return current


def _parse_comment(what, name, text, families, current):
    if not re.fullmatch(NAME, name):
        raise ValueError("a bad name")
    if name != current and name in families:
        raise ValueError(f"{name} again, after {current}")
    family = families.setdefault(name, {"type": None, "help": None, "samples": {}})
    if family[what]:
        raise ValueError(f"{what} twice")
    if family["samples"]:
        raise ValueError(f"{what} after its samples")
    if what == "type":
        if text not in TYPES:
            raise ValueError("no such type")
        if (text == "counter") != name.endswith("_total"):
            raise ValueError("counters end in _total, and only they")
    if what == "help" and re.search(r"\\(?![\\n])", text):
        raise ValueError("a bad escape")
    family[what] = text
    return name
