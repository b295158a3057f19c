#!/bin/sh
# Temporal's two databases, created where they are missing and brought up to date. May be run again at any time.
set -eu

tool() {
    temporal-sql-tool --plugin "$DB" --endpoint "$POSTGRES_SEEDS" --port "$DB_PORT" --user "$POSTGRES_USER" "$@"
}

for pair in temporal:temporal temporal_visibility:visibility; do
    database=${pair%%:*}
    tool --database "$database" create
    tool --database "$database" setup-schema --version 0.0
    tool --database "$database" update-schema \
        --schema-dir "/etc/temporal/schema/postgresql/v12/${pair##*:}/versioned"
done
