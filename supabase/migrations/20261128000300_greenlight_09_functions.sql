-- What changed in supabase/functions.sql since 0.2.0.

set local lock_timeout = '5s';
set local statement_timeout = '60s';

-- Written by `make migration` from supabase/functions.sql.

notify pgrst, 'reload schema';
