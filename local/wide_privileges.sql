-- Projects made before 2026 give the API roles ALL on every new table, function and sequence in public. Migrations
-- that hold with these privileges hold with the narrow ones of newer projects, too. Run after platform.sql.
alter default privileges for role postgres in schema public
grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
grant all on functions to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
grant all on sequences to anon, authenticated, service_role;
