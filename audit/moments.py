"""The clock of everything that is recorded: the database's, by its function `moment()`."""

import datetime

from django.db import connection, models


class Moment(models.Func):
    """Now, as an expression and as a column's default."""

    function, template = "moment", "%(function)s()"
    output_field = models.DateTimeField()


def now() -> datetime.datetime:
    """The database's clock: the only one that windows, limits and expiries go by."""
    with connection.cursor() as cursor:
        cursor.execute("select moment()")
        found: datetime.datetime = cursor.fetchone()[0]
    return found
