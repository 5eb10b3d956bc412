"""Facts about countries from countries-list (current) and country-json (older); knows no pictures."""

from __future__ import annotations

import json
import re
from pathlib import Path

from streams.atlas.build.emoji import LANGUAGES
from streams.atlas.build.icons import code
from streams.atlas.build.packages import folder

OLD_CODES = {"UK": "GB", "TP": "TL"}
CHANGED = {
    "capital": ("BI", "MM", "PW"),
    "currency_code": ("BG", "BY", "EC", "MG", "MR", "SL", "ST", "VE", "ZW"),
    "currency": ("BG", "EC", "HR", "LT", "LV", "MG"),
}
"""Countries where the older source was once right: every other difference is spelling or error."""


def read_flags(root: Path) -> list[dict]:
    """One record per country: id, code, icon names, continent and facts."""
    new = folder(root, "countries-list-3.4.1")
    countries = _json(new / "countries.min.json")
    languages = _json(new / "languages.min.json")
    continents = _json(new / "continents.min.json")
    currencies = _json(new / "currencies.all.min.json")
    old = _Older(folder(root, "country-json-2.3.0") / "src")
    base = folder(root, "emojibase-data-17.0.0")
    translated = {
        language: {code(r["hexcode"]): r["label"] for r in _json(base / language / "data.json")}
        for language in (*LANGUAGES, "en")
    }
    records = []
    for short, row in sorted(countries.items()):
        hexcode = "-".join(f"{0x1F1E6 + ord(c) - 65:x}" for c in short)
        english = _after_colon(translated["en"].get(hexcode, ""))
        facts: dict[str, list[str]] = {"country": [row["name"]]}
        if english and english != row["name"]:
            facts["country"].append(english)
        facts["capital"] = [row["capital"]]
        facts["continent"] = [continents[row["continent"]]]
        facts["region"] = [r for r in [old.value("region-in-world", "location", short)] if r and "/" not in r]
        facts["currency"] = [currencies[c]["name"] for c in row["currency"] if c in currencies]
        facts["currency_code"] = row["currency"]
        facts["language"] = [languages[c]["name"] for c in row["languages"] if c in languages]
        facts["calling_code"] = [f"+{phone}" for phone in row["phone"]]
        top = old.value("domain-tld", "tld", short)
        facts["tld"] = [top] if top in (f".{short.lower()}", ".uk") else []
        facts["dish"] = _dishes(old.value("national-dish", "dish", short) or "")
        for language in LANGUAGES:
            facts[f"name_{language}"] = [_after_colon(translated[language].get(hexcode, ""))]
        older = {
            "capital": old.value("capital-city", "city", short),
            "currency_code": old.value("currency-code", "currency_code", short),
            "currency": old.value("currency-name", "currency_name", short),
        }
        records.append(
            {
                "id": f"f-{short.lower()}",
                "domain": "flag",
                "hexcode": hexcode,
                "code": short.lower(),
                "icons": [
                    f"flag: {row['name']}",
                    f"flag for {row['name']}",
                    f"flag: {english}",
                    f"flag for {english}",
                    f"flag for flag {english}",
                ],
                "subgroup": continents[row["continent"]],
                "facts": {k: [v for v in values if v] for k, values in facts.items() if any(values)},
                "older": {k: v.split(" (")[0].strip() for k, v in older.items() if v and short in CHANGED[k]},
            }
        )
    return records


def _json(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def _after_colon(label: str) -> str:
    if ":" not in label:
        return ""
    return label.split(":", 1)[1].translate({0x2019: "'", 0xA0: " "}).strip()


def _dishes(text: str) -> list[str]:
    if text.startswith("No "):
        return []
    parts = [re.sub(r"\(.*", "", part).strip() for part in text.split(",")]
    return [p for p in parts if 3 <= len(p) <= 28 and p[0].isupper() and ")" not in p]


class _Older:
    """country-json by country code: one file per property, read when asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        rows = _json(folder / "country-by-abbreviation.json")
        self._codes = {r["country"]: OLD_CODES.get(r["abbreviation"], r["abbreviation"]) for r in rows}
        self._tables: dict[str, dict[str, str]] = {}

    def value(self, table: str, key: str, short: str) -> str | None:
        """The property of a country, or None where the source has none."""
        if table not in self._tables:
            rows = _json(self._folder / f"country-by-{table}.json")
            found = {self._codes.get(r["country"]): r[key] for r in rows}
            self._tables[table] = {c: str(v) for c, v in found.items() if c and v is not None}
        return self._tables[table].get(short)
