"""Which style of beat an artist's name usually stands for: a hint, since no artist is bound to one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

_BY_STYLE = {
    "boom bap": (
        "Action Bronson, Apathy, Army of the Pharaohs, AZ, Benny the Butcher, Big L, Big Pun, Black Moon, Black"
        " Thought, Boldy James, 50 Cent, Conway the Machine, Cormega, CZARFACE, DJ Premier, Evidence, Freddie Gibbs,"
        " Gang Starr, Ghostface Killah, Griselda, GZA, Hieroglyphics, Jadakiss, Jedi Mind Tricks, Joey Badass,"
        " KRS-One, Lord Finesse, Mach-Hommy, Madlib, Masta Ace, Method Man, MF DOOM, Mobb Deep, M.O.P., Nas, Notorious"
        " BIG, Onyx, Pete Rock, Prodigy, Raekwon, Rakim, Roc Marciano, Rome Streetz, RZA, Stove God Cooks, The"
        " Alchemist, Alchemist, Westside Gunn, Wu-Tang, Wu-Tang Clan, Your Old Droog"
    ),
    "trap": (
        "21 Savage, 42 Dugg, Baby Keem, BigXthaPlug, Cardi B, Chief Keef, Don Toliver, Drake, Destroy Lonely, EST"
        " Gee, Future, GloRilla, Gucci Mane, Gunna, Jack Harlow, Juice WRLD, Ken Carson, Key Glock, Kodak Black, Lil"
        " Baby, Lil Durk, Lil Nas X, Lil Skies, Lil Tecca, Lil Uzi Vert, Megan Thee Stallion, Metro Boomin, Migos,"
        " Moneybagg Yo, NBA YoungBoy, NLE Choppa, NoCap, Offset, Playboi Carti, Polo G, Quavo, Rich the Kid, Rod"
        " Wave, Roddy Ricch, Southside, T.I., Toosii, Travis Scott, Trippie Redd, Yeat, YNW Melly, Young Dolph,"
        " Young Jeezy, Young Thug"
    ),
    "lo-fi": "bsd.u, eevee, Idealism, Jinsang, Joji, Kupla, Lofi Girl, Potsu, Powfu, Tomppabeats, wun two",
    "drill": (
        "Abra Cadabra, Bizzy Banks, Central Cee, Digga D, Dusty Locane, Fivio Foreign, Headie One, Kay Flock,"
        " Loski, M24, Pop Smoke, Russ Millions, Sheff G, Sleepy Hallow, Tion Wayne, Unknown T"
    ),
    "g-funk": (
        "2Pac, Daz Dillinger, DJ Quik, Dr. Dre, E-40, Ice Cube, Kurupt, Larry June, Mac Dre, Nate Dogg, Snoop Dogg,"
        " Tha Dogg Pound, The Game, Too Short, Tupac, Warren G, Westside Connection, YG"
    ),
    "phonk": (
        "DJ Smokey, DJ Spanish Fly, DVRST, Freddie Dredd, Ghostemane, Koopsta Knicca, Kordhell, Pharmacist,"
        " Soudiere, SpaceGhostPurrp, Suicideboys, Three 6 Mafia, Tommy Wright III"
    ),
    "jazz rap": (
        "A Tribe Called Quest, Common, De La Soul, Digable Planets, Guru, J Dilla, Jungle Brothers, Loyle Carner,"
        " Mos Def, Noname, Nujabes, Q-Tip, Robert Glasper, Slum Village, The Pharcyde, The Roots"
    ),
    "cloud rap": (
        "ASAP Rocky, Bladee, Clams Casino, Drain Gang, Ecco2k, Lil B, Lil Peep, Main Attrakionz, Summrs, Thaiboy"
        " Digital, Yung Lean"
    ),
    "crunk": "Crime Mob, David Banner, Lil Jon, Lil Scrappy, Pastor Troy, Trillville, Ying Yang Twins",
    "old school": (
        "Afrika Bambaataa, Beastie Boys, Big Daddy Kane, Boogie Down Productions, EPMD, Grandmaster Flash, Kurtis"
        " Blow, LL Cool J, Public Enemy, Run DMC, Salt-N-Pepa, Slick Rick, Sugarhill Gang, Whodini"
    ),
}
_OF_MANY_STYLES = (
    "A Boogie, Big Sean, Chance the Rapper, Childish Gambino, Cordae, Denzel Curry, Eminem, Isaiah Rashad, J. Cole,"
    " Jay-Z, JID, Kanye West, Kendrick Lamar, Lil Wayne, Mac Miller, Nicki Minaj, Post Malone, The Weeknd,"
    " Tyler The Creator, XXXTentacion"
)
ARTISTS: dict[str, str | None] = {
    **{name: style for style, names in _BY_STYLE.items() for name in names.split(", ")},
    **dict.fromkeys(_OF_MANY_STYLES.split(", ")),
}
"""An artist's name, as it is usually written, to one of `rapgen.groove.STYLES`, or None where it tells of none."""

_MAX_WORDS = 5  # of a name


def find_artists(words: Sequence[str]) -> list[tuple[int, int]]:
    """Where known names stand in a text's words, the longest first: (first word, word after the last)."""
    found, start = [], 0
    while start < len(words):
        ends = range(min(start + _MAX_WORDS, len(words)), start, -1)
        end = next((end for end in ends if known_artist(words[start:end])), None)
        if end is not None:
            found.append((start, end))
        start = end or start + 1
    return found


def known_artist(words: Sequence[str]) -> str | None:
    """The artist whose name these words are, as it is usually written."""
    return _folded().get(_fold(words))


def usual_style(artists: Iterable[str]) -> str | None:
    """The style that most of the artists stand for, the first of several; None where none is known."""
    styles = [style for artist in artists if (style := ARTISTS.get(artist))]
    return max(styles, key=styles.count) if styles else None


@cache
def _folded() -> dict[str, str]:
    return {_fold(name.split()): name for name in ARTISTS}


def _fold(words: Iterable[str]) -> str:
    """A name without case, blanks and signs: "A$AP Rocky" is "asaprocky"."""
    return "".join(filter(str.isalnum, "".join(words).casefold().replace("$", "s")))
