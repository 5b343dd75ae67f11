import { createServerClient } from "@supabase/ssr";
import { NextResponse, type NextRequest } from "next/server";
import { env } from "../env";
import { safePath } from "../paths";

const OPEN = /^\/(sign-in|sign-up|auth|api)(\/|$)/;
const FORMS = /^\/(sign-in|sign-up)$/;

/** Refreshes the session's cookies, and sends visitors to where they may be. `headers` go on to the page. */
export async function updateSession(request: NextRequest, headers: Headers): Promise<NextResponse> {
  let response = NextResponse.next({ request: { headers } });
  const supabase = createServerClient(
    env.NEXT_PUBLIC_SUPABASE_URL,
    env.NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY,
    {
      cookies: {
        getAll: () => request.cookies.getAll(),
        setAll(cookies, noStore) {
          for (const { name, value } of cookies) request.cookies.set(name, value);
          // The page reads the cookies of this request: it must see the fresh ones.
          headers.set("cookie", request.headers.get("cookie") ?? "");
          response = NextResponse.next({ request: { headers } });
          for (const { name, value, options } of cookies) response.cookies.set(name, value, options);
          for (const [name, value] of Object.entries(noStore)) response.headers.set(name, value);
        },
      },
    },
  );
  // At once: between the client and this call, nothing else may run, or the user is signed out at random.
  const { data, error } = await supabase.auth.getClaims();

  const { pathname, search, searchParams } = request.nextUrl;
  // An action is no page: it says itself that nobody is signed in.
  const isPage = request.method === "GET" || request.method === "HEAD";
  if (!data && isPage && !OPEN.test(pathname) && error?.name !== "AuthRetryableFetchError")
    return redirect(`/sign-in?next=${encodeURIComponent(pathname + search)}`);
  if (data && isPage && FORMS.test(pathname)) return redirect(safePath(searchParams.get("next")));
  return response;

  function redirect(path: string) {
    const answer = NextResponse.redirect(new URL(path, request.url));
    for (const cookie of response.cookies.getAll()) answer.cookies.set(cookie);
    return answer;
  }
}
