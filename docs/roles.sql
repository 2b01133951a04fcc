-- The four database roles of docs/operations.md, "Database roles", with the least rights each needs.
--
-- Run it in the worker's database, as the role that owns the tables or a superuser, after
-- `alembic upgrade head`: once, and again after every release whose changelog names a migration.
-- It may be run any number of times. It sets no password: until one is set nobody can log in.

BEGIN;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'klarna_sessions_migration', 'klarna_sessions_worker', 'klarna_sessions_reader',
        'klarna_sessions_shop'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
        EXECUTE format(
            'ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS', name
        );
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
    END LOOP;
END
$$;

-- Postgres 14 lets everybody create tables in `public`; later releases do not.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public
    TO klarna_sessions_migration, klarna_sessions_worker, klarna_sessions_reader,
    klarna_sessions_shop;

-- Revokes what an earlier run or a default granted; the rights are granted again below.
REVOKE ALL ON payment_sessions, accounts, status_transitions, outbox_messages, outbox_deliveries,
    stream_generations, webhook_endpoints, alembic_version
    FROM PUBLIC, klarna_sessions_worker, klarna_sessions_reader;
REVOKE ALL (authorization_token) ON payment_sessions FROM klarna_sessions_reader;
REVOKE ALL ON FUNCTION track_payment_session FROM PUBLIC, klarna_sessions_worker,
    klarna_sessions_reader;

-- Migrations: owns the tables and creates new ones. Only `alembic upgrade head` uses it.
GRANT CREATE ON SCHEMA public TO klarna_sessions_migration;
GRANT klarna_sessions_migration TO CURRENT_USER;
ALTER TABLE payment_sessions OWNER TO klarna_sessions_migration;
ALTER TABLE accounts OWNER TO klarna_sessions_migration;
ALTER TABLE status_transitions OWNER TO klarna_sessions_migration;
ALTER TABLE outbox_messages OWNER TO klarna_sessions_migration;
ALTER TABLE outbox_deliveries OWNER TO klarna_sessions_migration;
ALTER TABLE stream_generations OWNER TO klarna_sessions_migration;
ALTER TABLE webhook_endpoints OWNER TO klarna_sessions_migration;
ALTER TABLE alembic_version OWNER TO klarna_sessions_migration;
ALTER FUNCTION track_payment_session OWNER TO klarna_sessions_migration;

-- Worker and beat, and every `session-worker` command. Rows are deleted from payment_sessions
-- only; the rows that reference a session are deleted with it (ON DELETE CASCADE). History, that is
-- transitions and messages, is never changed.
GRANT SELECT, INSERT, UPDATE, DELETE ON payment_sessions TO klarna_sessions_worker;
GRANT SELECT, INSERT ON status_transitions, outbox_messages TO klarna_sessions_worker;
GRANT SELECT, INSERT, UPDATE
    ON accounts, outbox_deliveries, stream_generations, webhook_endpoints
    TO klarna_sessions_worker;
GRANT SELECT ON alembic_version TO klarna_sessions_worker;

-- `show`, `list`, `stats`, `health`, dashboards and people. Every column but
-- authorization_token, although it is encrypted.
DO $$
DECLARE
    columns text;
BEGIN
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
    FROM pg_attribute
    WHERE attrelid = 'payment_sessions'::regclass AND attnum > 0 AND NOT attisdropped
        AND attname <> 'authorization_token';
    EXECUTE format('GRANT SELECT (%s) ON payment_sessions TO klarna_sessions_reader', columns);
END
$$;
GRANT SELECT ON accounts, status_transitions, outbox_messages, outbox_deliveries,
    stream_generations, webhook_endpoints, alembic_version
    TO klarna_sessions_reader;
ALTER ROLE klarna_sessions_reader SET default_transaction_read_only = on;

-- A shop on the same Postgres: tracks in its own transaction, and can do nothing else. If the shop
-- already has a role: GRANT klarna_sessions_shop TO that_role.
GRANT EXECUTE ON FUNCTION track_payment_session TO klarna_sessions_shop;

COMMIT;
