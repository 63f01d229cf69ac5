-- The roles Remit lives under. Safe to run again; needs PostgreSQL 15 or newer and a superuser.
--
--   createdb remit
--   psql -v ON_ERROR_STOP=1 -1 -d remit -f deploy/sql/roles.sql
--   psql -d remit -c '\password remit_owner' -c '\password remit_app'
--
-- It acts on the database it is connected to. `make run` applies the same file to its embedded server.
--
--   remit_owner     logs in for migrations only. Owns the database and everything in it.
--   remit_app       logs in for everything else. Owns nothing, is a member of nothing, and row-level security binds it.
--   remit_dispatch  never logs in. Owns the one SECURITY DEFINER function that claims work across organisations.

DO $database$
BEGIN
  IF current_setting('server_version_num')::int < 150000 THEN
    RAISE EXCEPTION 'Remit needs PostgreSQL 15 or newer, this is %', current_setting('server_version');
  END IF;
  IF current_database() IN ('postgres', 'template0', 'template1') THEN
    RAISE EXCEPTION 'connect to the database that Remit is to use: % is the server''s own', current_database();
  END IF;
END
$database$;

DO $roles$
DECLARE
  name text;
BEGIN
  -- Two databases of one server share their roles: whoever comes second must wait, not fail.
  PERFORM pg_advisory_xact_lock(hashtext('remit roles'));
  FOREACH name IN ARRAY ARRAY['remit_owner', 'remit_app', 'remit_dispatch'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I', name);
    END IF;
  END LOOP;
END
$roles$;

-- CREATEDB is left as it is: the embedded server grants it to remit_owner for the tests, production does not.
ALTER ROLE remit_owner LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION;
ALTER ROLE remit_app LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION NOCREATEDB;
ALTER ROLE remit_dispatch NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION NOCREATEDB;

-- Membership lets a migration hand a function over: ALTER FUNCTION ... OWNER TO remit_dispatch. PostgreSQL 15 to 18 all ask
-- for two things: the giver may SET ROLE to the new owner (this grant), and the new owner has CREATE on the schema at that
-- moment. CREATE is not needed before or after, so it is not granted here; the migration borrows it, in one transaction, as
-- owner of the database (which works in a test database too):
--   GRANT CREATE ON SCHEMA public TO remit_dispatch;
--   ALTER FUNCTION claim_work(...) OWNER TO remit_dispatch;
--   REVOKE CREATE ON SCHEMA public FROM remit_dispatch;
-- remit_owner inherits from remit_dispatch, so it counts as the function's owner and replaces it later without borrowing. The
-- price: a policy TO remit_dispatch opens its table to remit_owner as well, who could switch the policy off anyway.
DO $membership$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = 'remit_dispatch'::regrole AND member = 'remit_owner'::regrole) THEN
    GRANT remit_dispatch TO remit_owner;
  END IF;
END
$membership$;

DO $apart$
BEGIN
  IF pg_has_role('remit_app', 'remit_owner', 'MEMBER') OR pg_has_role('remit_app', 'remit_dispatch', 'MEMBER') THEN
    RAISE EXCEPTION 'remit_app is a member of remit_owner or remit_dispatch: revoke that membership first';
  END IF;
END
$apart$;

-- Session guards: no request waits long, holds a lock long, or sleeps inside a transaction. A migration may compute for
-- longer, but never queues in front of the traffic for more than two seconds.
ALTER ROLE remit_app SET statement_timeout = '10s';
ALTER ROLE remit_app SET lock_timeout = '2s';
ALTER ROLE remit_app SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE remit_owner SET lock_timeout = '2s';
-- The gate's functions look up few rows by full keys: one plan fits every call, and compiling it never pays.
ALTER ROLE remit_app SET plan_cache_mode = 'force_generic_plan';
ALTER ROLE remit_app SET jit = off;
ALTER ROLE remit_owner SET idle_in_transaction_session_timeout = '60s';

DO $database$
BEGIN
  EXECUTE format('ALTER DATABASE %I OWNER TO remit_owner', current_database());
  -- Nobody else connects, and nobody but the owner makes temporary tables that could shadow real ones.
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM remit_app', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO remit_app', current_database());
END
$database$;

-- Row-level security lets an index answer only what cannot leak a row's content, through an error for one. The text search's @@
-- compares two values that were parsed before and says true or false, so the search box may use its index.
ALTER FUNCTION pg_catalog.ts_match_vq(tsvector, tsquery) LEAKPROOF;

-- A database upgraded from 14 or older still lets everybody create in public.
ALTER SCHEMA public OWNER TO pg_database_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO PUBLIC;
