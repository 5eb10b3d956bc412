"""Facts about emoji from emojibase, emojilib and WordNet; knows no pictures and no questions."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from streams.atlas.build.icons import code
from streams.atlas.build.kinds import kinds
from streams.atlas.build.labels import GROUP, SUBGROUP
from streams.atlas.build.packages import folder
from streams.atlas.build.wordnet import Nouns

LANGUAGES = ("fr", "de", "es", "it", "pt", "nl", "sv")
KEYWORD_STOP = frozenset(
    (
        "a an the of to in on at by for and or no not is are with picture image shown here word words "
        "keyword keywords tag tags tagged what which name called describes fits goes would you symbol "
        "emoji button face person man woman thing sign other object item describe file under search find "
        "look searching give one index lookup this that some from partly state tell know please answer "
        "question want can suits have does its belong left right first second third fourth"
    ).split()
)
"""Words that occur in questions or say nothing."""
UNITS = {"man", "woman", "person"}


def readable(label: str) -> str | None:
    """A CLDR label as a plain noun phrase, or None where the label only lists parts or a direction."""
    label = label.translate(str.maketrans("’‘“”", "''\"\""))
    if "facing right" in label:
        return None
    if ": " in label:
        head, rest = label.split(": ", 1)
        if head in UNITS:
            return f"{head} with {'a ' if rest == 'beard' else ''}{rest}"
        return f"{head} {rest}" if head == "keycap" else None
    return label


def read_emoji(root: Path, nouns: Nouns) -> tuple[list[dict], list[str]]:
    """(records, log): id, hexcode, label, names for icon look-up, subgroup and facts per emoji."""
    base = folder(root, "emojibase-data-17.0.0")
    rows = json.loads((base / "en" / "data.json").read_text(encoding="utf-8"))
    meta = json.loads((base / "meta" / "groups.json").read_text(encoding="utf-8"))
    second = json.loads((folder(root, "emojilib-4.0.3") / "dist" / "emoji-en-US.json").read_text(encoding="utf-8"))
    names = {language: _labels(base, language) for language in LANGUAGES}
    kept = [r for r in rows if "group" in r and r["group"] != 2 and meta["subgroups"][str(r["subgroup"])] in SUBGROUP]
    frequency = Counter(tag for r in kept for tag in set(r.get("tags", ())))
    records: list[dict] = []
    log: list[str] = []
    for row in kept:
        label = readable(row["label"])
        if label is None:
            log.append(f"dropped emoji {row['label']!r}: its label lists parts or a direction, not a thing")
            continue
        hexcode = code(row["hexcode"])
        group = meta["groups"][str(row["group"])]
        subgroup = meta["subgroups"][str(row["subgroup"])]
        facts: dict[str, list[str]] = {"name": [label], "group": [GROUP[group]], "subgroup": [SUBGROUP[subgroup]]}
        keywords = _keywords(row.get("tags", ()), second.get(row["emoji"], ()), label, frequency)
        if keywords:
            facts["keyword"] = keywords
        plain = re.sub(r"^(man|woman|men|women) (?=\w)", "", label)
        for relation, kind in zip(("kind_of", "kind_of2"), kinds(nouns, plain, group, subgroup), strict=False):
            facts[relation] = [kind]
        for language in LANGUAGES:
            other = names[language].get(hexcode)
            if other and ":" not in other:
                facts[f"name_{language}"] = [other]
        records.append(
            {
                "id": f"e-{hexcode}",
                "domain": "emoji",
                "hexcode": hexcode,
                "icons": [row["label"]],
                "subgroup": SUBGROUP[subgroup],
                "facts": facts,
                "older": {},
            }
        )
    return records, log


def _labels(base: Path, language: str) -> dict[str, str]:
    rows = json.loads((base / language / "data.json").read_text(encoding="utf-8"))
    quotes = str.maketrans("’‘“”«»", '\'\'""""')
    return {code(r["hexcode"]): r["label"].translate(quotes) for r in rows}


def _keywords(tags, second, label: str, frequency: Counter) -> list[str]:
    """Tags that are one clear word, best first: two sources agree, shared by others but not by many."""
    words = set(re.findall(r"\w+", label.lower()))
    fine = {
        t.lower()
        for t in tags
        if re.fullmatch(r"[a-z]{3,}", t.lower()) and t.lower() not in KEYWORD_STOP and t.lower() not in words
    }
    agreed = {str(w).lower() for w in second}

    def rank(tag: str) -> tuple[bool, bool, int, str]:
        count = frequency[tag]
        return (tag not in agreed, not 2 <= count <= 40, -count, tag)

    return sorted(fine, key=rank)
