"use client";

import { RotateCw } from "lucide-react";
import { signOut } from "@/actions/auth";
import { Notice } from "@/components/notice";

export default function ErrorPage({ reset }: { reset: () => void }) {
  return (
    <main id="content">
      <Notice title="This page could not be loaded">
        <p>The service is down or busy. Nothing is lost: your drafts are kept in this browser.</p>
        <form action={signOut} className="notice-actions">
          <button className="button" type="button" onClick={reset}>
            <RotateCw aria-hidden /> Try again
          </button>
          <button className="button quiet">Sign out</button>
        </form>
      </Notice>
    </main>
  );
}
