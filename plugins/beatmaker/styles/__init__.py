"""The styles, one a file."""

from rapgen_plugins.beatmaker.style import Style
from rapgen_plugins.beatmaker.styles.boom_bap import BOOM_BAP
from rapgen_plugins.beatmaker.styles.cloud_rap import CLOUD_RAP
from rapgen_plugins.beatmaker.styles.crunk import CRUNK
from rapgen_plugins.beatmaker.styles.drill import DRILL
from rapgen_plugins.beatmaker.styles.g_funk import G_FUNK
from rapgen_plugins.beatmaker.styles.jazz_rap import JAZZ_RAP
from rapgen_plugins.beatmaker.styles.lo_fi import LO_FI
from rapgen_plugins.beatmaker.styles.old_school import OLD_SCHOOL
from rapgen_plugins.beatmaker.styles.phonk import PHONK
from rapgen_plugins.beatmaker.styles.trap import TRAP

STYLES: dict[str, Style] = {
    style.name: style for style in (BOOM_BAP, TRAP, LO_FI, DRILL, G_FUNK, PHONK, CRUNK, JAZZ_RAP, CLOUD_RAP, OLD_SCHOOL)
}
