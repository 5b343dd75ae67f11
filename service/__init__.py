"""The HTTP service in front of `public.approve_plan`."""
