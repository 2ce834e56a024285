"""Locations of MLflow: its URI, the file of a database, and the folders of artifacts after a storage folder moved."""

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"


def tracking_uri(storage: Path, uri: str | None) -> str:
    """Return the URI of MLflow: the study's ``tracking.uri``, else MLFLOW_TRACKING_URI, else a file in the storage."""
    return uri or os.environ.get("MLFLOW_TRACKING_URI") or database_uri(storage.resolve() / DATABASE)


def database_uri(path: Path) -> str:
    """Return the URI of a SQLite file, with the characters quoted that have a meaning in a URI.

    MLflow creates the folder of a ``sqlite:///`` URI as it is written, quoted characters included, so that a quoted
    path has the scheme ``sqlite+pysqlite``.
    """
    quoted = URL.create("sqlite", database=str(path)).render_as_string()
    return quoted if quoted == f"sqlite:///{path}" else quoted.replace("sqlite:", "sqlite+pysqlite:", 1)


def database_file(uri: str) -> Path | None:
    """Return the SQLite file of a URI; None for a server, another database, or a database in memory."""
    try:
        url = make_url(uri)
    except ArgumentError:
        return None
    if url.get_backend_name() != "sqlite" or not url.database or ":memory:" in url.database:
        return None
    is_uri = url.database.startswith("file:")
    return Path(unquote(urlsplit(url.database).path) if is_uri else url.database)


def create_database(uri: str) -> None:
    """Create a missing SQLite database atomically.

    MlflowClient creates tables one by one; a file with only some of them, left by a killed driver, cannot be opened.
    """
    from mlflow import MlflowClient

    path = database_file(uri)
    if path is None or path.exists():
        return
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        MlflowClient(database_uri(fresh)).search_experiments(max_results=1)
        with suppress(FileExistsError):  # created by the driver of another study in the meantime
            os.link(fresh, path)


def artifacts_folder(storage: Path, study: str) -> Path:
    """Return the folder of a study's artifacts, if a database is written directly; a server uses its own."""
    return storage.resolve() / ARTIFACTS / study


def follow_move(uri: str, storage: Path, study: str) -> str:
    """Correct the artifact locations in the database of a storage folder that was moved, renamed or copied.

    MLflow stores absolute locations, and would create the old folder again. A database elsewhere may serve several
    storage folders: it is corrected only if the study's artifacts are here, and its old folder is gone.

    Returns:
        A message; empty if no location changed, or if the database cannot be read.
    """
    path = database_file(uri)
    if path is None or not path.is_file():
        return ""
    here = artifacts_folder(storage, study)
    own = path.resolve() == storage.resolve() / DATABASE
    now = f"{here.parent.as_uri()}/"
    try:
        with closing(sqlite3.connect(path, timeout=10)) as database, database:
            roots = _roots(database) if own else _roots(database, study) if here.exists() else []
            before = [root for root in roots if root != now and (own or not Path(_path(root)).exists())]
            for root in before:
                _replace(database, root, now)
    except sqlite3.Error:  # the tracker explains it, if it cannot use the database either
        return ""
    if not before:
        return ""
    earlier = ", ".join(map(_path, before))
    return f"{storage}: was {earlier}; MLflow's artifact locations are corrected to {storage.resolve()}"


def _roots(database: sqlite3.Connection, only: str = "") -> list[str]:
    """Return the folders of artifacts of all experiments, or of one, as URIs that end with ``/mlartifacts/``."""
    rows = database.execute("SELECT name, artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'")
    roots = {
        location[: -len(study)]
        for name, location in rows
        if location.endswith(f"/{ARTIFACTS}/{(study := location.rpartition('/')[2])}")
        and unquote(study) == name
        and only in ("", name)
    }
    return sorted(roots)


def _replace(database: sqlite3.Connection, before: str, now: str) -> None:
    for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
        database.execute(
            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
            (now, len(before) + 1, len(before), before),
        )


def _path(root: str) -> str:
    """Return the storage folder of a root."""
    return str(Path(unquote(urlsplit(root).path)).parent)
