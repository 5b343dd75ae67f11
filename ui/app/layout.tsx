import type { Metadata, Viewport } from "next";
import { headers } from "next/headers";
import { Toasts } from "@/components/toasts";
import { publicSettings } from "@/lib/env";
import "@fontsource-variable/geist";
import "@fontsource-variable/geist-mono";
import "@fontsource-variable/newsreader";
import "./globals.css";

export const metadata: Metadata = {
  title: { default: "Greenlight", template: "%s · Greenlight" },
  description: "Read the plan, approve it, watch its agent.",
};

export const viewport: Viewport = {
  colorScheme: "light dark",
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#faf9f6" },
    { media: "(prefers-color-scheme: dark)", color: "#121311" },
  ],
};

export default async function RootLayout({ children }: { children: React.ReactNode }) {
  // Render for each request: the nonce and the settings are not known at build time.
  await headers();
  return (
    <html lang="en">
      <head>
        <meta name="greenlight-env" content={JSON.stringify(publicSettings())} suppressHydrationWarning />
      </head>
      <body>
        {children}
        <Toasts />
      </body>
    </html>
  );
}
