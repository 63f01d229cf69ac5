-- sayable(n): n random characters, at most 24, that can be read aloud: hexadecimal, a part of Crockford's base32. A UUID's fixed bits are left out.
CREATE OR REPLACE FUNCTION sayable(p_length int) RETURNS text LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE u text := gen_random_uuid();
BEGIN
    RETURN upper(left(left(u, 8) || right(u, 12) || substr(u, 10, 4), p_length));
END $$;

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
