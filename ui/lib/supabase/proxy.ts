import { createServerClient } from "@supabase/ssr";
import { NextResponse, type NextRequest } from "next/server";
import { cookieRoom, env } from "../env";
import { safePath } from "../paths";
import { AUTH_COOKIE, encode, fits, isHttps } from "./cookies";

const PUBLIC_ROUTES = /^\/(sign-in|sign-up|forgot-password|auth)(\/|$)/;
const AUTH_ROUTES = /^\/(sign-in|sign-up|forgot-password)$/;

/** Refreshes the session's cookies, and redirects visitors who may not see the page. `headers` are passed to the page. */
export async function updateSession(request: NextRequest, headers: Headers): Promise<NextResponse> {
  const session = { fits: true };
  let response = NextResponse.next({ request: { headers } });
  const supabase = createServerClient(
    env.NEXT_PUBLIC_SUPABASE_URL,
    env.NEXT_PUBLIC_SUPABASE_PUBLISHABLE_KEY,
    {
      cookieOptions: { secure: isHttps(request.headers) },
      cookies: {
        encode,
        getAll: () => request.cookies.getAll(),
        setAll(wanted, noStore) {
          // Too large a session ends here: the server would refuse every request with its cookies.
          session.fits = fits(wanted, cookieRoom);
          const cookies = session.fits ? wanted : removed();
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
  // Nothing may run between the client and this call, or users are signed out at random (Supabase's documentation).
  const { data: claims, error } = await supabase.auth.getClaims();
  const data = session.fits ? claims : null;

  const { pathname, search, searchParams } = request.nextUrl;
  // Server actions report missing sessions themselves.
  const isPage = request.method === "GET" || request.method === "HEAD";
  if (!data && isPage && !PUBLIC_ROUTES.test(pathname) && error?.name !== "AuthRetryableFetchError")
    return redirect(`/sign-in?next=${encodeURIComponent(pathname + search)}`);
  if (data && isPage && AUTH_ROUTES.test(pathname)) return redirect(safePath(searchParams.get("next")));
  return response;

  function removed() {
    const names = request.cookies.getAll().flatMap(({ name }) => (AUTH_COOKIE.test(name) ? [name] : []));
    return names.map((name) => ({ name, value: "", options: { path: "/", maxAge: 0 } }));
  }

  function redirect(path: string) {
    const answer = NextResponse.redirect(new URL(path, request.url));
    for (const cookie of response.cookies.getAll()) answer.cookies.set(cookie);
    return answer;
  }
}
