"""Where does it sit, and where does it move?"""

from lens.ui.fields import choice, flag, heads, integer, text
from lens.ui.page import Page
from lens.ui.shared.task_fields import task_fields

TASKS = ("ioi", "pronouns", "greater_than", "repeated", "capitals", "own")
DIRECTIONS = {"corrupted": "Denoising", "clean": "Noising"}
CELLS = {"position": "Layer × position", "head": "Layer × head", "one": "Head × position"}
STREAM = {
    "resid_pre": "Stream before the layer",
    "resid_mid": "Stream after attention",
    "resid_post": "Stream after the layer",
    "attn_out": "Attention output",
    "mlp_out": "MLP output",
}
HEAD = {"z": "Output of heads", "q": "Queries", "k": "Keys", "v": "Values", "pattern": "Attention patterns"}
SCALES = {"share": "Share of the gap", "raw": "Change"}
INPUTS = {"final": "Final stream", "q": "Queries", "k": "Keys", "v": "Values"}
TABS = ("approximation", "path", "prompts")
LONGEST_LIST = 400  # characters of a typed list of heads

PAGE = Page(
    name="patching",
    section="Intervene",
    title="Patching",
    question="Where does it sit, and where does it move?",
    icon="healing",
    options=(
        *task_fields(TASKS),
        choice("into", "corrupted", tuple(DIRECTIONS)),
        choice("cells", "position", tuple(CELLS)),
        choice("stream", "resid_pre", tuple(STREAM)),
        choice("part", "z", tuple(HEAD)),
        choice("shown", "share", tuple(SCALES)),
        heads("cell", 1),
        integer("prompt_pair", 1, low=1, high=256),
        flag("aligned", False),
        choice("input", "final", tuple(INPUTS)),
        text("receivers", "", LONGEST_LIST),
        choice("more", "approximation", TABS),
    ),
)
