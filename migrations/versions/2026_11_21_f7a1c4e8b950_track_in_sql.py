"""track in SQL."""

from __future__ import annotations

from alembic import op

revision = "f7a1c4e8b950"
down_revision = "e6d2b8f03a57"
branch_labels = None
depends_on = None

_SIGNATURE = "track_payment_session(text, text, timestamptz, text, text, text)"

# The task `payment_sessions.track` as a function, for the transactions of a shop on this Postgres.
# The rules are those of worker/domain/tracking.py. An empty session_url stands for the documented
# one, which only the worker knows; the previous release refuses to read it, and tries again.
_TRACK = r"""
CREATE OR REPLACE FUNCTION track_payment_session(
    session_id text,
    session_url text DEFAULT NULL,
    expires_at timestamptz DEFAULT NULL,
    account text DEFAULT NULL,
    kind text DEFAULT NULL,
    reference text DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
AS $function$
#variable_conflict use_column
DECLARE
    given_id CONSTANT text := $1;
    given_url CONSTANT text := $2;
    given_end CONSTANT timestamptz := $3;
    given_account CONSTANT text := lower($4 COLLATE "C");
    given_kind CONSTANT text := $5;
    given_reference CONSTANT text := $6;
    known payment_sessions;
    fault text;
    contradicted text;
    url text;
    to_account text;
    to_kind text;
    moved boolean;
    is_over boolean;
BEGIN
    fault := CASE
        WHEN given_id IS NULL OR given_id = '' THEN 'session_id: is missing'
        WHEN given_id COLLATE "C" !~ '^[A-Za-z0-9._~-]{1,128}$' OR given_id IN ('.', '..')
            THEN 'session_id: must be 1 to 128 letters, digits, dots, hyphens, underscores'
                || ' or tildes'
        WHEN length(given_url) > 2048 THEN 'session_url: must have at most 2048 characters'
        WHEN given_url COLLATE "C" !~ '^https?://[A-Za-z0-9._:\[\]-]+(/[A-Za-z0-9._~-]+)+$'
            OR given_url ~ '/\.\.?(/|$)'
            THEN 'session_url: must be an origin and a plain path: no query, fragment, user info'
                || ' or escapes'
        WHEN reverse(split_part(reverse(given_url), '/', 1)) <> given_id
            THEN 'session_url: must end in the session id'
        WHEN NOT (given_end >= '1970-01-01 00:00:00+00' AND given_end < '2200-01-01 00:00:00+00')
            THEN 'expires_at: must lie between 1970 and 2200'
        WHEN given_account COLLATE "C" !~ '^[!-~]{1,255}$'
            THEN 'account: must be 1 to 255 visible ASCII characters'
        WHEN given_kind NOT IN ('hpp', 'kp') THEN 'kind: must be hpp or kp'
        WHEN length(given_reference) > 255
            OR given_reference ~ '[[\:cntrl\:]\u0080-\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f]'
            OR given_reference ~ '[\u205f-\u206f\u3000\ue000-\uf8ff\ufeff\ufff9-\ufffb]'
            THEN 'reference: must be printable text of at most 255 characters'
    END;
    IF fault IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = fault,
            COLUMN = split_part(fault, ':', 1);
    END IF;
    LOOP
        INSERT INTO payment_sessions
            (session_id, session_url, expires_at, account, kind, reference)
        VALUES
            (given_id, COALESCE(given_url, ''), given_end, COALESCE(given_account, 'default'),
            COALESCE(given_kind, 'hpp'), given_reference)
        ON CONFLICT (session_id) DO NOTHING;
        IF FOUND THEN
            RETURN true;
        END IF;
        SELECT p.* INTO known FROM payment_sessions AS p WHERE p.session_id = given_id FOR UPDATE;
        EXIT WHEN FOUND;
    END LOOP;
    is_over := known.outcome IS NOT NULL;
    IF is_over AND known.outcome NOT IN ('expired', 'not_found') THEN
        RETURN false;
    END IF;
    contradicted := CASE WHEN known.status IS NOT NULL THEN CASE
        WHEN given_url <> known.session_url AND known.session_url <> '' THEN 'session_url'
        WHEN abs(EXTRACT(epoch FROM given_end - known.expires_at)) >= 60 THEN 'expires_at'
        WHEN given_account <> known.account THEN 'account'
        WHEN given_kind <> known.kind THEN 'kind'
        WHEN given_reference <> known.reference THEN 'reference'
    END END;
    IF contradicted IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', COLUMN = contradicted,
            MESSAGE = contradicted || ': contradicts what this session was tracked with';
    END IF;
    to_account := COALESCE(given_account, known.account);
    to_kind := COALESCE(given_kind, known.kind);
    url := CASE
        -- Read at the documented address: that is where it goes on.
        WHEN known.session_url = '' AND known.status IS NOT NULL THEN ''
        WHEN given_url IS NOT NULL THEN given_url
        -- Another account or kind: the documented address of those, where it was documented before.
        WHEN (to_account, to_kind) <> (known.account, known.kind)
            AND known.session_url ~ '^https?://[^/]+/(hpp|payments)/v1/sessions/[^/]+$' THEN ''
        ELSE known.session_url
    END;
    moved := (url, to_account, to_kind) <> (known.session_url, known.account, known.kind);
    UPDATE payment_sessions AS p
    SET session_url = url,
        account = to_account,
        kind = to_kind,
        reference = COALESCE(given_reference, p.reference),
        expires_at = CASE
            WHEN abs(EXTRACT(epoch FROM given_end - p.expires_at)) < 60 THEN p.expires_at
            ELSE COALESCE(given_end, p.expires_at)
        END,
        nudged_at = clock_timestamp(),
        next_poll_at = clock_timestamp(),
        outcome = NULL,
        finished_at = NULL,
        guessed_outcome = CASE
            WHEN is_over AND moved THEN NULL
            WHEN is_over THEN p.outcome
            ELSE p.guessed_outcome
        END,
        consecutive_failures = CASE WHEN moved THEN 0 ELSE p.consecutive_failures END,
        not_found_count = CASE WHEN moved THEN 0 ELSE p.not_found_count END,
        not_found_since = CASE WHEN moved THEN NULL ELSE p.not_found_since END,
        last_error = CASE WHEN moved THEN NULL ELSE p.last_error END
    WHERE p.session_id = given_id;
    RETURN false;
END
$function$
"""

# The schema of the tables, and before it only pg_catalog, so that no other schema hides a name.
_FIX_SEARCH_PATH = f"""
DO $$
BEGIN
    EXECUTE 'ALTER FUNCTION {_SIGNATURE} SET search_path = pg_catalog, '
        || quote_ident(current_schema()) || ', pg_temp';
END
$$
"""


def upgrade() -> None:
    """Add a function that tracks in the shop's transaction; no role may call it yet."""
    op.execute(_TRACK)
    op.execute(_FIX_SEARCH_PATH)
    op.execute(f"REVOKE ALL ON FUNCTION {_SIGNATURE} FROM PUBLIC")


def downgrade() -> None:
    """Drop the function."""
    op.execute(f"DROP FUNCTION IF EXISTS {_SIGNATURE}")
