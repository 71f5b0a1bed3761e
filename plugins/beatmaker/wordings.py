"""The words that captions are made of: names of things, and wordings with blanks.

Two sets of wordings have nothing in common: one for training and validation, one that only the test split uses.
"""

from __future__ import annotations

STYLES = {
    "boom bap": ("boom bap", "boom bap", "boombap", "90s boom bap", "east coast boom bap"),
    "trap": ("trap", "trap", "atlanta trap"),
    "lo-fi": ("lo-fi", "lofi", "lo-fi hip hop", "lofi hip hop", "chillhop"),
    "drill": ("drill", "drill", "uk drill", "ny drill"),
    "g-funk": ("g-funk", "g-funk", "g funk", "west coast", "west coast g-funk"),
    "phonk": ("phonk", "phonk", "memphis phonk", "memphis rap"),
    "crunk": ("crunk", "crunk", "dirty south crunk"),
    "jazz rap": ("jazz rap", "jazz rap", "jazzy hip hop", "jazz hop"),
    "cloud rap": ("cloud rap", "cloud rap", "cloud trap"),
    "old school": ("old school", "old school hip hop", "old-school rap", "80s hip hop"),
}
PLAYERS = {
    "rhodes": ("rhodes", "electric piano"),
    "piano": ("piano", "piano", "keys"),
    "pad": ("a synth pad", "soft pads"),
    "strings": ("strings", "a string section"),
    "guitar": ("guitar", "plucked guitar"),
    "muted guitar": ("muted guitar", "palm-muted guitar"),
    "organ": ("organ", "an organ"),
    "brass": ("brass", "horns"),
    "flute": ("flute", "a flute"),
    "bells": ("bells", "bell melodies"),
    "choir": ("choir", "a ghostly choir"),
    "lead synth": ("a synth lead", "lead synth"),
    "vibes": ("vibraphone", "vibes"),
    "pluck": ("plucks", "plucked synth"),
    "cowbell": ("a cowbell melody", "tuned cowbell"),
    "808": ("808s", "808 bass", "an 808"),
    "bass guitar": ("bass guitar", "a round bassline"),
    "upright bass": ("upright bass", "double bass"),
    "synth bass": ("synth bass", "moog bass"),
}
COLOURS = {
    "ride": "a ride cymbal",
    "shaker": "shaker",
    "tambourine": "tambourine",
    "cowbell": "cowbell",
    "conga": "congas",
    "tom": "toms",
    "rim": "rimshots",
    "snap": "finger snaps",
}
TRAITS = {
    "hat rolls": ("hi-hat rolls", "rolling hats"),
    "triplet hats": ("triplet hats", "triplet hi-hats"),
    "sliding bass": ("a sliding 808", "808 glides"),
    "walking bass": ("a walking bassline", "a walking bass"),
    "ghost notes": ("ghost notes on the snare", "a snare full of ghost notes"),
    "claps": ("claps", "handclaps"),
    "rich chords": ("extended chords", "lush chords", "ninth chords"),
    "swing": ("swung drums", "a swinging groove"),
    "melody": ("a melody", "a lead line"),
}
EFFECTS = {
    "vinyl crackle": ("vinyl crackle", "record crackle"),
    "tape wow": ("tape wobble", "worn tape"),
    "side-chain": ("side-chain pumping",),
    "12-bit sampler": ("12-bit sampler grit", "gritty sampling"),
    "reverb": ("a lot of reverb", "deep reverb"),
    "echo": ("echoes", "a delay on the lead"),
}
FEELS = {"straight": "straight drums", "half": "half-time drums", "double": "double-time drums"}
TITLES = (
    "Cold", "Concrete", "Midnight", "Ashes", "Velvet", "Northside", "Halo", "Payphone", "Reverie", "Static", "Lanterns",
    "Marble", "Overpass", "Smoke", "Paradise", "Mirrors", "Backseat", "Rooftops", "Undertow", "Gravel", "Neon",
    "Polaroid",
)  # fmt: skip

# What an engineer, an uploader and a listener would write; a wording with a blank that cannot be filled is passed over.
ENGINEER = (
    "{style}, {tempo} bpm, {key}",
    "{style} beat at {tempo} bpm in {key}",
    "{style} {tempo}bpm {key}",
    "{style} instrumental, {key}, {tempo} bpm",
    "{style} with {sound}, {tempo} bpm",
    "{tempo} bpm {style} in {key} with {sounds}",
    "{style} at {tempo} bpm with {feel}",
    "{bars} bar {style} loop, {tempo} bpm, {key}",
    "{style}: {sounds}; {tempo} bpm, key of {key}",
    "{style} groove, {drums}, {bass}, {tempo} bpm",
    "{key} {style} loop with {chords}, {tempo} bpm",
    "tempo {tempo}, {key}, {style}, {texture}",
    "{sounds} over {feel}, {tempo} bpm {style}",
    "{style}, chords {changes}, {tempo} bpm",
)
UPLOADER = (
    '[FREE] {Mood} {Style} Type Beat 2024 | "{title}" | {tempo} BPM {key}',
    "(free) {style} type beat - {title} - {tempo} bpm",
    "{Mood} {Style} Type Beat {tempo} BPM {key}",
    "[FREE] {Style} Instrumental | {tempo} BPM | {key}",
    '{mood} {style} type beat "{title}"',
    "{Style} Type Beat, {Mood}, {tempo} BPM",
    "*FREE* {Style} beat with {sound} ({title}) {tempo} BPM",
    '"{title}" - {Mood} {Style} Instrumental (prod. me) {key}',
    "FREE FOR PROFIT {style} type beat | {mood} rap instrumental",
    "{Style} / {Mood} / {tempo} BPM / {key}",
)
LISTENER = (
    "{mood} {style} with {sounds}",
    "{style} beat with {sound}",
    "{style} in {key}",
    "{a_mood} {style} beat, {pace}",
    "{pace} {style} with {sound}",
    "{a_mood} rap beat with {sounds}",
    "{style} with {feel}",
    "{mood} instrumental to rap over, {pace}, {sound}",
    "{mood}, {mood2} {style}",
    "{style}",
    "{style} with {drums} and {bass}",
    "{a_mood} beat built on {bass} and {drums}",
    "{style} with {texture}, {mood}",
    "{mood} {style}, {chords} on {player}",
    "slow down and nod: {mood} {style}, {sound}",
    "something {mood} and {mood2}, {style} maybe, with {sound}",
    "{a_mood} loop of {bars} bars, {style}",
)
TEST_ENGINEER = (
    "{tempo} BPM / {key} / {style}",
    "{style} instrumental recorded at {tempo} bpm, {sounds} up front",
    "{key}, {tempo} bpm: {style} built from {sounds}",
    "backing track, {style}, {tempo} bpm, {feel}",
    "{drums} under {sound}, {style} at {tempo} bpm",
    "session notes: {style}, {key}, {tempo} bpm, {bass}",
)
TEST_UPLOADER = (
    "{title} ({Style} x {Mood} Beat) {tempo}bpm {key}",
    "SOLD | {Mood} {Style} Beat | {tempo} BPM",
    "{style} beat for rappers - {title} [{tempo} BPM] [{key}]",
    'New {Style} Beat 2025 - "{title}"',
)
TEST_LISTENER = (
    "sounds like {style}, quite {mood}, {sound} all the way",
    "{mood} and {mood2}; you hear {sounds}; {style} through and through",
    "reminds me of {style}: {drums}, {bass}",
    "I would rap on this {mood} {style} track",
    "{sound} carries this {mood} {style} number",
    "late at night, {mood}, {style}, {texture}",
)
