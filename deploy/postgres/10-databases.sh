#!/bin/sh
# Run once, by the image, on an empty data folder: a role and its databases for Authpipe, and for Temporal.
# Neither can enter the other's. The passwords come from files and are no argument of any process.
set -eu
psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set authpipe_password `cat "${SECRETS_DIR:-/run/secrets}/authpipe_password"`
\set temporal_password `cat "${SECRETS_DIR:-/run/secrets}/temporal_password"`
CREATE ROLE authpipe LOGIN PASSWORD :'authpipe_password';
CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE authpipe OWNER authpipe;
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
REVOKE CONNECT ON DATABASE authpipe FROM PUBLIC;
REVOKE CONNECT ON DATABASE temporal FROM PUBLIC;
REVOKE CONNECT ON DATABASE temporal_visibility FROM PUBLIC;
SQL
