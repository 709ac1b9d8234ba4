"""The store that the nodes of the demo and of its stories share."""

from lib.postgres import Postgres


def store_url(workspace, kind, say):
    """Of a file of SQLite, as nodes of one machine may have it; "postgres": of a server of its own, with
    its data in the workspace's folder."""
    if kind == "sqlite":
        return f"sqlite:{workspace.path('mongooseim.db')}"
    postgres = Postgres(workspace, root=workspace.folder).start()
    url = postgres.url_by_socket("mongooseim")
    say(f"  PostgreSQL: {url}, pid {postgres.process.pid}")
    return url
