import { z } from "zod";

/** The types of links with a token hash in Supabase Auth's mails. */
export const LINK_TYPES = z.enum(["email", "signup", "recovery", "invite", "magiclink", "email_change"]);
