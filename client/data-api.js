/** @import { PostgrestError, SupabaseClient } from "@supabase/supabase-js" */
/** @import { Database, Supabase } from "./types.js" */

/** @typedef {Database["public"]["Functions"]} Functions */

import { databaseError } from "./errors.js";

/**
 * The tables and functions as they are in this package's version, whatever types the caller's client has.
 *
 * @param {Supabase} supabase
 * @returns {SupabaseClient<Database>}
 */
export function typed(supabase) {
  return /** @type {SupabaseClient<Database>} */ (supabase);
}

/**
 * A response without an error in it.
 *
 * @template {{ error: Partial<PostgrestError> | null, status: number }} Response
 * @param {Response} response
 */
export function checked(response) {
  if (response.error) throw databaseError(response.error, response.status);
  // postgrest-js treats an empty 404 as a success without data.
  if (response.status !== 200 && response.status !== 206) throw databaseError({}, response.status);
  return /** @type {Extract<Response, { error: null }>} */ (response);
}

/**
 * Calls a function. Its arguments are checked against the database's types; the answer has the type that the caller
 * declares, which says more than the database's types: which columns can be null, and which statuses exist.
 *
 * @template {keyof Functions} Name
 * @template Answer
 * @param {Supabase} supabase
 * @param {Name} name
 * @param {Functions[Name]["Args"]} [args]
 * @returns {Promise<Answer>}
 */
export async function call(supabase, name, args) {
  return /** @type {Answer} */ (checked(await supabase.rpc(name, args)).data);
}
