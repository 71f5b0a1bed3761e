"""Crunk: claps and their rolls, an 808 riff, a loud synthesizer or brass that shouts one line over and over."""

from rapgen_plugins.beatmaker.style import Bass, Drumming, Harmony, Layer, Style, Tune

CRUNK = Style(
    name="crunk",
    tempo_bpm=(138, 160),
    swing=(50, 50),
    feel="half",
    odd_feel_percent=5,
    energy=86,
    drumming=Drumming(
        kicks=(
            "X..x..x...x.....|X..x..x...x.x...",
            "X.....x...x...x.|X.....x...x.x.x.",
            "X..x......x..x..|X..x..x...x.....",
            "X...x.....x.x...|X...x.x...x.....",
            "X.x...x...x.....|X.x...x...x..x..",
        ),
        backbeats=("........X.......", "........X.......|........X.....x."),
        backbeat_voices=(("clap",), ("clap", "snare"), ("clap", "snap"), ("clap", "snare")),
        ghosts=("................", "..............o.", "............o.o."),
        ghost_voice="clap",
        hats=("X.x.X.x.X.x.X.x.", "xoxoxoxoxoxoxoxo", "X.xxX.x.X.xxX.x.", "X.x.X.O.X.x.X.O."),
        layers=(
            Layer("snap", ("....x.......x...", "........x......."), 30),
            Layer("open hat", ("..x...x...x...x.",), 25),
            Layer("tom", ("............x.x.|..........x.x.x.", "......x.......x."), 25),
            Layer("cowbell", ("x...x...x...x...", "x..x..x.x..x..x."), 20),
        ),
        roll_percent=16,
        rolls=(8, 8, 6),
        fills=("clap roll", "clap roll", "run", "kick out", "toms", "stop"),
    ),
    harmony=Harmony(
        minor_percent=95,
        minor=("i", "i", "i | bII | i | bVII", "i | i | bVI | bVII", "i | bVI | i | V", "i | i | bVI | V", "i | bII"),
        major=("I | bVII", "I"),
        minor_scales=("phrygian", "minor", "harmonic minor", "minor pentatonic"),
        major_scales=("mixolydian",),
        instruments=("brass", "lead synth", "strings", "organ", "choir", "pluck"),
        comping=(
            "x-..x-..x-..x-..",
            "x--x--x---x-....",
            "x-----x-----x---",
            "x-x-..x-x-..x-..",
            "....x-......x-x-",
            "x---------------",
        ),
        max_notes=3,
    ),
    bass=Bass(
        ("808",),
        ("kicks", "rhythm"),
        rhythms=(
            "x--x--x---x-----|x--x--x---x-x---",
            "x-----x---x---x-|x-----x---x-x-x-",
            "x--x------x--x--|x--x--x---x-----",
        ),
        low=28,
        slide_percent=6,
    ),
    lead=Tune(
        instruments=("lead synth", "lead synth", "brass", "strings", "bells", "pluck"),
        rhythms=(
            "x-x-x-x-x---x---|x-x-x-x-x-x-x-x-",
            "x--x--x-x--x--x-|x--x--x-x-x-x-x-",
            "xx..xx..x-x-x---|xx..xx..x-x-....",
            "x-x-..x-x-x-..x-|x-x-..x-x-------",
            "x-.x-.x-x-.x-.x-|x-.x-.x-x---x---",
        ),
        contours=("repeat", "neighbour", "repeat", "fall", "pendulum"),
        percent=94,
        low=64,
        high=83,
    ),
    counter=("brass", "choir", "strings", "organ"),
    counter_percent=50,
)
