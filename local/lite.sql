-- GoTrue stores objects in these columns; Lite 0.10.0 stores a JSON string that holds one. Run after platform.sql, in
-- the local stack only.
create function auth.unwrap_json() returns trigger language plpgsql set search_path = '' as $$
declare
    column_name text;
    value jsonb;
begin
    foreach column_name in array tg_argv loop
        value := to_jsonb(new) -> column_name;
        if jsonb_typeof(value) = 'string' then
            new := jsonb_populate_record(new, jsonb_build_object(column_name, (value #>> '{}')::jsonb));
        end if;
    end loop;
    return new;
end;
$$;

create trigger unwrap_json before insert or update on auth.users
for each row execute function auth.unwrap_json('raw_app_meta_data', 'raw_user_meta_data');

create trigger unwrap_json before insert or update on auth.identities
for each row execute function auth.unwrap_json('identity_data');
