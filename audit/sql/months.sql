-- partition_months: make the monthly partitions of a log table, from last month on. Runs as the tables' owner, creates nothing else.
CREATE OR REPLACE FUNCTION partition_months(p_table text, p_months int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_month date; v_name text; v_made int := 0;
BEGIN
    IF p_table NOT IN ('audit_entry', 'agents_step') OR p_months NOT BETWEEN 1 AND 24 THEN RAISE EXCEPTION 'partition_months: not %', p_table; END IF;
    FOR i IN -1..p_months LOOP
        v_month := date_trunc('month', now() AT TIME ZONE 'UTC')::date + make_interval(months => i);
        v_name := p_table || '_' || to_char(v_month, 'YYYY_MM');
        IF to_regclass('public.' || v_name) IS NULL THEN
            BEGIN
                EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)', v_name, p_table,
                               v_month || ' 00:00+00', (v_month + interval '1 month')::date || ' 00:00+00');
                EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, remit_app', v_name);
                v_made := v_made + 1;
            EXCEPTION WHEN check_violation THEN  -- the default partition already holds rows of that month: they stay there, and are found
                RAISE NOTICE '% keeps its rows in the default partition', v_name;
            END;
        END IF;
    END LOOP;
    RETURN v_made;
END $$;
REVOKE ALL ON FUNCTION partition_months(text, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION partition_months(text, int) TO remit_app;
