"""Exercise bug_hunt: eight DenseNet programs, each wrong in one way; what hides the symptom is not a repair.

Every bug has two findings of one point: is the symptom gone, and is its cause?
"""

from densenet_course.checks.engine.judge import Exercise
from densenet_course.checks.exercises.bug_hunt import blocks, loss, networks, saving, torchvision_models

BUGS = (  # in the notebook's order: the name, what looks for the symptom, what looks for the cause
    ("BlockWithHead", blocks.head_fits, blocks.head_reads_all),
    ("CleanBlock", blocks.second_call_works, blocks.nothing_is_kept),
    ("densenet_bc", networks.count_is_right, networks.bottlenecks_are_there),
    ("densenet_28", networks.small_images_pass, networks.stem_keeps_the_size),
    ("one_hot_loss", loss.untrained_loss, loss.loss_is_cross_entropy),
    ("block_maps", torchvision_models.one_map_per_block, torchvision_models.blocks_of_any_model),
    ("load_old", torchvision_models.old_weights_arrive, torchvision_models.checkpoint_is_read_by_name),
    ("SavingLayer", saving.statistics_move_once, saving.memory_is_saved),
)

EXERCISE = Exercise("bug_hunt", names=[name for name, _, _ in BUGS], title="Bug hunt",
                    lesson="09_memory_and_speed", given=["densenet_course"])

for _name, _symptom, _cause in BUGS:
    EXERCISE.finding(f"{_name}: symptom", points=1, of=_name)(_symptom)
    EXERCISE.finding(f"{_name}: cause", points=1, of=_name)(_cause)
