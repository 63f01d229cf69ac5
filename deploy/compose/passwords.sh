#!/bin/sh
# The postgres image runs this once, on an empty data directory, after roles.sql. Passwords go through standard input, not the command line.
set -eu
owner=$(cat /run/secrets/owner_password)
app=$(cat /run/secrets/app_password)
psql -v ON_ERROR_STOP=1 --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<SQL
ALTER ROLE remit_owner PASSWORD '$owner';
ALTER ROLE remit_app PASSWORD '$app';
SQL
