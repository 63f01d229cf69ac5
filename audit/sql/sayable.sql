-- sayable(n): n random characters of Crockford's base32 (no I, L, O, U), five bits each.
CREATE OR REPLACE FUNCTION sayable(p_length int) RETURNS text LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', (get_byte(b, i) & 31) + 1, 1), '')
    FROM (SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) AS b) r,
         unnest((ARRAY[0,1,2,3,4,5,10,11,12,13,14,15,16,17,18,19])[1:p_length]) AS i  -- bytes 6 to 9 of a UUID hold its version
$$;

-- canonical(jsonb): canonical JSON text (RFC 8785) for ASCII keys and whole numbers; anything else is an error, never a guess.
CREATE OR REPLACE FUNCTION canonical(p jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    CASE jsonb_typeof(p)
        WHEN 'object' THEN
            RETURN '{' || coalesce((SELECT string_agg(to_json(key)::text || ':' || canonical(value), ',' ORDER BY key COLLATE "C") FROM jsonb_each(p)), '') || '}';
        WHEN 'array' THEN
            RETURN '[' || coalesce((SELECT string_agg(canonical(value), ',' ORDER BY ordinality) FROM jsonb_array_elements(p) WITH ORDINALITY), '') || ']';
        WHEN 'number' THEN
            IF p::text !~ '^-?[0-9]+$' THEN RAISE EXCEPTION 'canonical: % is not a whole number', p; END IF;
            RETURN p::text;
        ELSE RETURN p::text;
    END CASE;
END $$;
