"""Release of Ray placement groups whose owner has died."""

import ray
from ray._private.state import state as cluster_state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.util.placement_group import PlacementGroup, remove_placement_group


def remove_orphaned_placement_groups() -> int:
    """Remove placement groups of this job whose actor has died, and return their number.

    Ray keeps such a group until the job ends. Ray Train's watcher knows a group only after its workers have started: if
    the controller is killed before, the group is never removed, and the next worker group of the cell would wait
    forever. No public Ray call returns the creator of a group.
    """
    job = ray.get_runtime_context().get_job_id()
    tables = cluster_state._connect_and_get_accessor().get_placement_group_table()
    orphaned = [group for table in tables if _is_orphaned(group := PlacementGroupTableData.FromString(table), job)]
    for group in orphaned:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return len(orphaned)


def _is_orphaned(group: PlacementGroupTableData, job: str) -> bool:
    made_by_an_actor = not ray.ActorID(group.creator_actor_id).is_nil()
    exists = group.state != PlacementGroupTableData.REMOVED and not group.is_detached
    return exists and group.creator_job_id.hex() == job and made_by_an_actor and group.creator_actor_dead
