-- The epoch of an organisation: one number, and a new one with every change of anything that calls are decided upon. Who read with one epoch
-- and finds the same one later knows, by one row, that all of it still stands: that is how gate_admit checks, and how a process may go by what it
-- read for the call before (controlplane/recall.py). Numbers are drawn and not counted, so that no two states share one: after a failover or a
-- restore, which lose the last commits, a count would come to the same number again. Keys are not among it: gate_admit looks at the key itself.
-- The application may read it. It turns at the end of the transaction that makes the change, once, so its row is the last that anybody waits for.
CREATE FUNCTION epoch_drawn() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT hashtextextended(gen_random_uuid()::text, 0) $$;

CREATE FUNCTION epoch_begin() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO agents_epoch (organisation_id, id, number) VALUES (NEW.organisation_id, NEW.id, epoch_drawn());
    RETURN NULL;
END $$;

CREATE FUNCTION epoch_turn() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE v_org text := coalesce(NEW.organisation_id, OLD.organisation_id); v_was text := coalesce(current_setting('app.organisation', true), '');
BEGIN
    PERFORM set_config('app.organisation', v_org, true);  -- whoever makes the change, an administrator at the prompt too
    UPDATE agents_epoch SET number = epoch_drawn()
    WHERE organisation_id = v_org AND id = v_org AND xmin <> pg_current_xact_id()::xid;  -- once a transaction, however many rows it changes
    PERFORM set_config('app.organisation', v_was, true);
    RETURN NULL;
END $$;

REVOKE ALL ON FUNCTION epoch_begin(), epoch_turn(), epoch_drawn() FROM PUBLIC;

CREATE TRIGGER epoch_begin AFTER INSERT ON agents_organisation FOR EACH ROW EXECUTE FUNCTION epoch_begin();

-- What can only take away or change: a row that is new changes no decision, but for stops and rules.
DO $$ DECLARE v_table text; BEGIN
    FOREACH v_table IN ARRAY ARRAY['agents_agent', 'agents_agentversion', 'agents_capability', 'agents_connector', 'agents_member', 'agents_pin',
                                   'agents_policyset', 'agents_stop', 'agents_tool', 'agents_toolversion', 'agents_workspace'] LOOP
        EXECUTE format('CREATE CONSTRAINT TRIGGER epoch_changed AFTER UPDATE ON %I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION epoch_turn()', v_table);
        EXECUTE format('CREATE CONSTRAINT TRIGGER epoch_gone AFTER DELETE ON %I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION epoch_turn()', v_table);
    END LOOP;
    FOREACH v_table IN ARRAY ARRAY['agents_policyset', 'agents_stop'] LOOP
        EXECUTE format('CREATE CONSTRAINT TRIGGER epoch_new AFTER INSERT ON %I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION epoch_turn()', v_table);
    END LOOP;
END $$;
