"""Old school: a drum machine out front, with cowbell, tambourine, congas and toms, and a riff or a stab beside it."""

from rapgen_plugins.beatmaker.style import Bass, Drumming, Harmony, Layer, Style, Tune

OLD_SCHOOL = Style(
    name="old school",
    tempo_bpm=(96, 114),
    swing=(50, 53),
    feel="straight",
    odd_feel_percent=5,
    energy=62,
    drumming=Drumming(
        kicks=(
            "X.....x.x.x.....|X.....x.x.x.....",
            "X..x....x.x.....|X..x....x.x..x..",
            "X.......x.x.....|X..x....x.x.....",
            "X.....x..x......|X.....x..x.x....",
            "X..x..x...x.....|X..x..x...x..x..",
            "X.x.....X.x.....|X.x...x.X.x.....",
        ),
        backbeats=("....X.......X...",),
        backbeat_voices=(("snare",), ("snare", "clap"), ("clap",), ("snare", "clap")),
        ghosts=("................", "..............o.|................"),
        hats=("xxxxxxxxxxxxxxxx", "X.x.X.x.X.x.X.x.", "XoxoXoxoXoxoXoxo", "X.x.X.x.X.x.X.O.", "x.O.x.O.x.O.x.O."),
        layers=(
            Layer("cowbell", ("x.x.x..x.x.x.x..", "x..x..x..x..x...", "x...x.x...x.x...|x...x.x..x..x.x."), 55),
            Layer("tambourine", ("....x.......x...", "o.x.o.x.o.x.o.x.", "xxxxxxxxxxxxxxxx"), 35),
            Layer("conga", ("x..x..x...x.x...|x..x..x...x.xx..", "......x...x..x.."), 30),
            Layer("clap", ("....x.......x...", "............x.xx"), 15),
            Layer("tom", ("..............xx|............x.xx",), 18),
        ),
        fills=("toms", "toms", "run", "kick out", "double snare", "clap roll", "stop"),
    ),
    harmony=Harmony(
        minor_percent=80,
        minor=("i", "i | bVII", "i7 | iv7", "i | i | bVI | bVII", "i7", "i | bIII | iv | bVII"),
        major=("I7 | IV7", "I", "I | bVII | IV | I"),
        minor_scales=("minor pentatonic", "blues", "dorian", "minor"),
        major_scales=("mixolydian", "major pentatonic"),
        instruments=("brass", "organ", "strings", "pluck", "piano", "muted guitar", "pad"),
        comping=(
            "x-......x-......",
            "x-..............|..........x-x-..",
            "....x-......x-..",
            "x-.x-.x-........",
            "x---------------",
            "x-x-......x-x-..",
        ),
        max_notes=3,
    ),
    bass=Bass(
        ("synth bass", "synth bass", "bass guitar", "808"),
        ("funk", "kicks", "funk"),
        rhythms=(
            "x-x-..x-x-..x-x-|x-x-..x-x-x-x-..",
            "x..x..x.x.x.....|x..x..x.x.x.x.x.",
            "x-..x-x-..x-x-..|x-..x-x-x-x-....",
            "x-------x-x-..x-|x-------x-x-x-x-",
        ),
        low=28,
    ),
    lead=Tune(
        instruments=("brass", "lead synth", "pluck", "organ", "strings", "bells", "muted guitar"),
        rhythms=(
            "x-x-..x-x-......|................",
            "x-.x-.x-........|x-.x-.x-x-x-....",
            "....x-x-..x-x-..|....x-x-x---....",
            "x-..x-..x-x-x---|x-..x-..x-......",
        ),
        contours=("repeat", "fall", "neighbour", "arch", "climb"),
        percent=60,
        low=65,
        high=83,
    ),
    counter=("brass", "strings", "organ", "muted guitar"),
    counter_percent=35,
)
