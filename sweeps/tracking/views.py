"""Saved views of MLflow's page of runs: columns, filter, grouping and charts of a study, under fixed ids.

MLflow 3.16 and later list them in the menu *Views*. A view is a tag of the experiment,
``mlflow.sharedViewState.<id>``: JSON with a name, times, and the state of the page, compressed.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweeps.tracking.location import database_file

LOCAL_UI = "http://127.0.0.1:5000"
"""Address at which ``mlflow ui`` listens by default."""

TAG = "mlflow.sharedViewState."
"""Prefix of the tag of a view."""

LONGEST = 20_000
"""Most characters of an experiment's tag in MLflow 3.16; a longer one is refused."""

CLIPS = "clips"
"""Key of the logged images of clips."""

LOSSES = ("validation_loss", "loss", "grad_norm")
"""Metrics of a training's reports that are charted."""

DELTA = "delta"
"""First part of the key of a difference: ``delta/<metric>`` of a cell, ``delta/<metric>/<arm>`` of the study."""

_WIDTHS = {"attributes.`Run Name`": 260, "runDateAndNestInfo": 90, "duration": 80}  # pixels
_WIDTH, _TAG = 160, 90
_BY_ARM = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "arm"}]}
_COLLAPSED = ("Model metrics", "seconds", "statistics")  # sections of all other metrics


@dataclass(frozen=True)
class Review:
    """What a study's views show.

    Args:
        metrics: Keys of the study's metrics, in its order.
        arms: Ids of the arms, the control first.
        cells: Ids of the plan's cells.
        seed: First seed: its clips are logged as images.
        is_trained: Whether a system is trained.
        search: Identity of the search; empty without a search.
        objectives: Keys of its objectives.
        searched: Dotted paths that it samples.
    """

    metrics: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    cells: frozenset[str] = frozenset()
    seed: int = 0
    is_trained: bool = False
    search: str = ""
    objectives: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()

    def mark(self, cell_id: str, search: str) -> str:
        """Return ``true`` for a cell of the study as it is now, else ``false``: the tag by which views list cells."""
        return str(cell_id in self.cells or (search != "" and search == self.search)).lower()

    def is_pictured(self, cell_id: str, seed: int) -> bool:
        """Whether the clips of a cell are logged as an image: those of the first seed."""
        return seed == self.seed and cell_id in self.cells


@dataclass(frozen=True)
class Section:
    """Charts under a heading, in so many columns, each so many pixels high."""

    name: str
    cards: tuple[dict[str, Any], ...]
    columns: int = 2
    height: int = 360


@dataclass(frozen=True)
class View:
    """One view.

    Args:
        id: Its id, the last part of its tag and the key in its link.
        name: Its name in the menu.
        columns: Its columns, as MLflow names them.
        sections: Its charts.
        arms: Arms by which it groups the cells, collapsed; empty for a list of cells.
        where: Conditions on the cells, besides belonging to the study as it is.
        opens_charts: Whether its link opens on the charts; the menu opens every view on the table.
        is_wide: Whether its charts hide the list of cells.
    """

    id: str
    name: str
    columns: tuple[str, ...]
    sections: tuple[Section, ...]
    arms: tuple[str, ...] = ()
    where: tuple[str, ...] = ("tags.stage = 'plan'",)
    opens_charts: bool = False
    is_wide: bool = False

    @property
    def query(self) -> str:
        """Query of the view's link."""
        return f"viewStateShareKey={self.id}{'&compareRunsMode=CHART' * self.opens_charts}"


def views(review: Review) -> list[View]:
    """List the views of a study, the first one first; those of a search or a training only where it has one."""
    if not review.metrics:
        return []
    listed = [_arms(review), _seeds(review)]
    listed += [_search(review)] if review.search else []
    listed += [_training(review)] if review.is_trained else []
    return [*listed, _clips(review)]


def view_tags(review: Review) -> dict[str, str]:
    """Return the tags of a study's views; empty for a study without metrics."""
    listed = views(review)
    # The menu lists the newest first. The times are fixed, so that the same view is the same tag.
    return {f"{TAG}{view.id}": _envelope(view, review, len(listed) - place) for place, view in enumerate(listed)}


def view_name(tag: str) -> str:
    """Name a view in messages, by its tag."""
    return f"saved view {tag.removeprefix(TAG)}"


def first_view(uri: str, experiment: str, review: Review) -> str:
    """Return the address of the first view, on the server or where ``mlflow ui`` shows a database by default.

    Empty for a study without views, and for an address that no browser opens.
    """
    server = LOCAL_UI if database_file(uri) else uri.rstrip("/")
    listed = views(review)
    return f"{server}/#/experiments/{experiment}/runs?{listed[0].query}" if listed and server.startswith("http") else ""


def _arms(review: Review) -> View:
    return View("arms", "Arms", _scores(review), _bars(review), review.arms)


def _seeds(review: Review) -> View:
    return View("seeds", "Seeds", (*_tags("seed", "status"), *_scores(review)), _bars(review))


def _search(review: Review) -> View:
    sampled = [f"sampled.{path}" for path in review.searched]
    columns = (*_tags("status"), *_metrics(*review.objectives), *(f"params.`{name}`" for name in sampled))
    parallel = {**_card("PARALLEL"), "selectedParams": sampled, "selectedMetrics": list(review.objectives)}
    first, *others = review.objectives
    fronts = [_scatter(_axis(first, "METRIC"), _axis(other, "METRIC")) for other in others]
    values = [_scatter(_axis(name, "PARAM"), _axis(first, "METRIC")) for name in sampled]
    sections = [
        Section("Trials", (parallel,), columns=1),
        Section("Pareto front", tuple(fronts)),
        Section("Sampled values", tuple(values)),
    ]
    where = ("tags.stage = 'search'",)
    charted = tuple(section for section in sections if section.cards)
    return View("search", "Search", columns, charted, where=where, opens_charts=True, is_wide=True)


def _training(review: Review) -> View:
    columns = _metrics(*LOSSES, "lr", "seconds/train", review.metrics[0])
    lines = Section("Training", tuple(_card("LINE", key) for key in LOSSES))
    return View("training", "Training", columns, (lines,), review.arms, opens_charts=True)


def _clips(review: Review) -> View:
    images = {**_card("IMAGE"), "imageKeys": [CLIPS], "step": 0, "showRunParams": False}
    where = ("tags.stage = 'plan'", f"tags.seed = '{review.seed}'")
    section = Section("Clips", (images,), columns=1, height=760)
    return View("clips", "Clips", _metrics(*review.metrics), (section,), where=where, opens_charts=True, is_wide=True)


def _scores(review: Review) -> tuple[str, ...]:
    """Return the columns of the study's metrics, each with its difference from the control."""
    return _metrics(*(name for key in review.metrics for name in (key, delta(key))))


def _bars(review: Review) -> tuple[Section, ...]:
    return (
        Section("Difference from the control", tuple(_card("BAR", delta(key)) for key in review.metrics)),
        Section("Metrics", tuple(_card("BAR", key) for key in review.metrics)),
    )


def delta(key: str) -> str:
    """Return the key of a metric's difference from the control."""
    return f"{DELTA}/{key}"


def _envelope(view: View, review: Review, time: int) -> str:
    """Return the value of a view's tag; with very many arms its groups are as MLflow opens them."""
    state = _state(view, review)
    whole = _packed(view, state, time)
    return whole if len(whole) <= LONGEST else _packed(view, {**state, "groupsExpanded": {}}, time)


def _packed(view: View, state: Mapping[str, Any], time: int) -> str:
    packed = base64.b64encode(zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 9)).decode()
    return json.dumps({"name": view.name, "createdAt": time, "updatedAt": time, "state": f"deflate;{packed}"})


def _state(view: View, review: Review) -> dict[str, Any]:
    """Return the state of the page; keys that are left out have MLflow's defaults."""
    charted = [{**card, "metricSectionId": section.name} for section in view.sections for card in section.cards]
    return {
        "searchFilter": " and ".join(("tags.current = 'true'", *view.where)),
        # By name, the page that MLflow loads first has whole arms; by date it would list cells under the study's run.
        "orderByKey": "tags.`mlflow.runName`",
        "orderByAsc": True,
        "selectedColumns": list(view.columns),
        "columnOrder": [*_WIDTHS, *view.columns],
        "columnWidths": {
            **_WIDTHS,
            **{column: _TAG if column.startswith("tags") else _WIDTH for column in view.columns},
        },
        "runsHiddenMode": "SHOW_ALL",
        "runListHidden": view.is_wide,
        "groupBy": _BY_ARM if view.arms else None,
        "groupsExpanded": {f"tag.arm.{arm}": False for arm in view.arms},
        "compareRunCharts": [
            {**card, "uuid": f"{view.id}-{place}"}
            for place, card in enumerate([*charted, *_not_charted(charted, review)])
        ],
        "compareRunSections": [
            *(_section(section, is_open=True) for section in view.sections),
            *(_section(Section(name, ()), is_open=False) for name in _COLLAPSED),
        ],
        "isAccordionReordered": True,
    }


def _not_charted(charted: list[dict[str, Any]], review: Review) -> list[dict[str, Any]]:
    """Return deleted charts of the metrics that a view does not chart: MLflow would add a section for each."""
    keys = (*review.metrics, *map(delta, review.metrics), *(LOSSES if review.is_trained else ()))
    present = {card.get("metricKey") for card in charted}
    return [{**_card("BAR", key), "deleted": True} for key in keys if key not in present]


def _section(section: Section, *, is_open: bool) -> dict[str, Any]:
    layout = {"columns": section.columns, "cardHeight": section.height}
    return {"uuid": section.name, "name": section.name, "display": is_open, "isReordered": True, **layout}


def _card(kind: str, metric: str = "") -> dict[str, Any]:
    about = {"metricKey": metric, "selectedMetricKeys": [metric], "displayName": metric} if metric else {}
    return {"type": kind, "runsCountToCompare": 100, **about}


def _scatter(x: dict[str, str], y: dict[str, str]) -> dict[str, Any]:
    return {**_card("SCATTER"), "xaxis": x, "yaxis": y}


def _axis(key: str, kind: str) -> dict[str, str]:
    return {"key": key, "type": kind}


def _metrics(*keys: str) -> tuple[str, ...]:
    return tuple(f"metrics.`{key}`" for key in keys)


def _tags(*keys: str) -> tuple[str, ...]:
    return tuple(f"tags.`{key}`" for key in keys)
