"""What a plan's views in MLflow show."""

from sweeps.plan import Plan
from sweeps.tracking.views import Review


def review_of(plan: Plan) -> Review:
    """Return metrics, arms, cells and search of a plan, by the names that they have in MLflow."""
    search = plan.search
    return Review(
        metrics=tuple(metric.key for metric in plan.metrics),
        arms=tuple(arm.id for arm in plan.arms),
        cells=frozenset(cell.id for cell in plan.cells),
        seed=plan.cells[0].seed,
        is_trained=plan.is_trained,
        search=search.identity if search else "",
        objectives=tuple(objective.key for objective in search.objectives) if search else (),
        searched=tuple(dict.fromkeys(path for space in search.arms for path in space.space)) if search else (),
    )
