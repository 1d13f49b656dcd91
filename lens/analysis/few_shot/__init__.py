"""Tasks learned from examples in the prompt: whether the model does them, and which heads carry the task.

Start with :func:`read_task` for what the model does by number of shots, then :func:`vector_map` and
:func:`removal_sets`. Sources: Todd et al. 2024, "Function vectors in large language models"; Yin and Steinhardt 2025,
"Which attention heads matter for in-context learning?".
"""

from lens.analysis.few_shot.by_shots import ByShots, by_shots, read_task
from lens.analysis.few_shot.function_vectors import FunctionVectors, function_vectors, vector_map, vector_null
from lens.analysis.few_shot.prompts import FewShot, few_shot, few_shot_or_reason
from lens.analysis.few_shot.removal import Curve, RemovalCurves, RemovalSets, removal_curves, removal_sets
from lens.analysis.few_shot.words import SHOTS, TASKS

__all__ = [
    "SHOTS",
    "TASKS",
    "ByShots",
    "Curve",
    "FewShot",
    "FunctionVectors",
    "RemovalCurves",
    "RemovalSets",
    "by_shots",
    "few_shot",
    "few_shot_or_reason",
    "function_vectors",
    "read_task",
    "removal_curves",
    "removal_sets",
    "vector_map",
    "vector_null",
]
