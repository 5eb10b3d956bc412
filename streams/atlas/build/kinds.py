"""What kind of thing an emoji shows, by WordNet, with unfit senses left out; knows no pictures."""

from __future__ import annotations

from streams.atlas.build.wordnet import ANIMAL, ARTIFACT, BODY, FOOD, PERSON, PLANT, Nouns

LEXNAMES: dict[str, tuple[int, ...]] = {
    "animals-nature": (ANIMAL, PLANT),
    "food-drink": (FOOD, PLANT, ARTIFACT),
    "travel-places": (ARTIFACT,),
    "activities": (ARTIFACT,),
    "objects": (ARTIFACT,),
}
"""Group -> lexicographer files in which a sense must lie to be what the picture shows."""
SUBGROUP_LEXNAMES: dict[str, tuple[int, ...]] = {
    "body-parts": (BODY,),
    "person-role": (PERSON,),
    "cat-face": (),
}
TOO_ABSTRACT = frozenset(
    "artifact;whole;object;physical entity;entity;thing;creation;product;article;ware;commodity;"
    "consumer goods;instrumentality;conveyance;transport;covering;person;organism;living thing;"
    "chordate;vertebrate;placental;metatherian;procyonid;musteline mammal;eutherian;rima;orifice;passage;"
    "chemoreceptor;contractile organ;matter;substance;nutriment;foodstuff;solid;food;material;"
    "plant material;plant product;natural object;way;creator;causal agent;artefact;line;"
    "physical object;restraint;excavation;reproductive structure;plant organ;plant part;vascular plant;"
    "seed;agent;fundament;oldster;area;extremity;external body part;structure;part;unit;"
    "angiosperm;gymnosperm;dicot;woody plant;magnoliid dicot genus;arthropod;teleost fish;"
    "bony fish;soft-finned fish;spiny-finned fish;acanthopterygian;decapod crustacean;malacostracan crustacean;"
    "percoid fish;plectognath;elasmobranch;selachian;cartilaginous fish;even-toed ungulate;odd-toed ungulate;"
    "anseriform bird;galliform bird;diapsid;anapsid;sauropsid;lepidopterous insect;dipterous insect;"
    "hymenopterous insect;dictyopterous insect;hemipterous insect;homopterous insect;lagomorph;"
    "anthozoan;cnidarian;coelenterate;procellariiform seabird;gallinaceous bird;placental mammal;"
    "diapsid reptile;crocodilian reptile;ornithischian;saurischian;chelonian;musteline;"
    "bovid;bovine;proboscidean;pachyderm;gnawer;tailless amphibian;saurian;plantigrade mammal;"
    "ratite;sphenisciform seabird;psittaciform bird;orthopterous insect;coraciiform bird;"
    "sound;obstruction;opening;surface;facility;system;set;mechanism;medium;support;"
    "supporting structure;framework;construction;point;strip;ornamentation;color;decoration;"
    "geological formation;layer;assets;formation;depository;drop;article of commerce;mercantile establishment;"
    "place of business;establishment;produce;diet;fare;ball".split(";")
)
"""Hypernyms nobody would answer with; the next one up is taken instead."""
BROAD = frozenset(
    "mammal;bird;reptile;amphibian;fish;insect;arachnid;mollusk;crustacean;invertebrate;tree;flower;herb;plant;"
    "edible fruit;vegetable;baked goods;sweet;dish;beverage;condiment;dairy product;seafood;meat;vehicle;craft;"
    "vessel;building;house;container;garment;clothing;footwear;furniture;musical instrument;"
    "measuring instrument;weapon;tool;implement;device;game equipment;sports equipment;equipment;machine;"
    "electronic equipment;toy;fabric;jewelry;headdress;organ;body part;worker;entertainer;leader;preserver;"
    "professional;shop;tableware;instrument;area;room;building material;memorial;public building;"
    "edible nut;fungus;animal;vascular plant;adult;fruit;protective covering;clothing;representation".split(";")
)
"""Classes wide enough to be the second step above a thing."""
UNFIT = frozenset(
    "black cat;peacock;wing;dragon face;dragon;dolphin;spiral shell;spider web;blowfish;cheese wedge;"
    "poultry leg;french fries;popcorn;rice cracker;rice ball;shortcake;clinking glasses;mate;wood;bank;factory;"
    "kick scooter;oil drum;flying saucer;wind face;closed umbrella;balloon;flying disc;curling stone;"
    "spade suit;heart suit;diamond suit;club suit;military helmet;rescue worker's helmet;gem stone;notebook;"
    "mouth;biting lip;tongue;gear;headstone;bar chart;hook;knot;slot machine;toilet;bat;custard;telephone receiver;"
    "jellyfish;koala;tangerine;lime;mango;peach;watermelon;cucumber;wheel;guard;melon;olive;beverage box;"
    "tumbler glass;wine glass;cocktail glass;videocassette;card index;japanese castle;magnet;satellite;seat;pizza;"
    "banana;pineapple;hibiscus;honeybee;prince;princess;kaaba;magic wand;snowman;postal horn;framed picture;"
    "mirror;petri dish;toothbrush;x-ray;four leaf clover;barber pole;boomerang;link;chains;spaghetti;world map;"
    "cricket;donkey;monkey face;robot;seedling;joystick;carousel horse;white cane;package;keyboard;"
    "cricket game".split(";")
)
"""Labels whose sense, looked at one by one, is not what the picture shows."""


def kinds(nouns: Nouns, label: str, group: str, subgroup: str) -> tuple[str, ...]:
    """(kind,), (kind, wider kind) or () for an English label; the first fitting sense of WordNet 3.0."""
    allowed = SUBGROUP_LEXNAMES.get(subgroup, LEXNAMES.get(group, ()))
    lemma = label.lower().replace("’", "'")
    if lemma in UNFIT or not allowed:
        return ()
    head = lemma.rsplit(" ", 1)[-1]
    compound = any(f" {word} " in lemma for word in ("with", "of", "and", "in", "on", "without"))
    for candidate in (lemma, lemma.removesuffix(" face"), "" if compound or ":" in lemma else head):
        senses = [s for s in nouns.senses(candidate) if s.lexname in allowed] if candidate else []
        if senses:
            return _climb(nouns, senses[0], lemma)
    return ()


def _climb(nouns: Nouns, sense, lemma: str) -> tuple[str, ...]:
    chain: list[str] = []
    above = nouns.parent(sense)
    while above is not None and len(chain) < 15:
        chain.append(above.words[0])
        above = nouns.parent(above)
    fitting = [w for w in chain if w not in TOO_ABSTRACT and w.islower() and w not in lemma]
    if not fitting:
        return ()
    kind = fitting[0]
    wider = [w for w in fitting[1:] if w in BROAD and w not in kind.split()]
    if not wider and kind not in BROAD:
        return ()
    return (kind, wider[0]) if wider else (kind,)
