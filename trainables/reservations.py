"""What worker groups have reserved, where whoever would have freed it is gone."""

import ray
from ray._private.state import state as cluster_state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.util.placement_group import PlacementGroup, remove_placement_group


def free_what_the_dead_reserved() -> int:
    """Remove placement groups of this job whose actor has died; how many they were.

    Ray keeps such a group until the whole job ends. Ray Train has a watcher for them, but the watcher hears of a group
    only once its workers stand: a controller killed while they start leaves a reservation that nobody frees, and the
    next group of the cell would wait for it forever. Who made a group is in no public call of Ray's.
    """
    job = ray.get_runtime_context().get_job_id()
    tables = cluster_state._connect_and_get_accessor().get_placement_group_table()
    left = [group for table in tables if _is_left(group := PlacementGroupTableData.FromString(table), job)]
    for group in left:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return len(left)


def _is_left(group: PlacementGroupTableData, job: str) -> bool:
    made_by_an_actor = not ray.ActorID(group.creator_actor_id).is_nil()
    there = group.state != PlacementGroupTableData.REMOVED and not group.is_detached
    return there and group.creator_job_id.hex() == job and made_by_an_actor and group.creator_actor_dead
