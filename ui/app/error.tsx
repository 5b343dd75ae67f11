"use client";

import { RotateCw } from "lucide-react";
import { signOut } from "@/actions/auth";
import { Notice } from "@/components/notice";
import { Button } from "@/components/ui/button";

export default function ErrorPage({ reset }: { reset: () => void }) {
  return (
    <Notice
      light="red"
      title="This page could not be loaded"
      actions={
        <>
          <Button type="button" variant="outline" onClick={reset}>
            <RotateCw aria-hidden /> Try again
          </Button>
          <form action={signOut}>
            <Button variant="ghost">Sign out</Button>
          </form>
        </>
      }
    >
      The service is down or busy. Nothing is lost: your drafts are kept in this browser.
    </Notice>
  );
}
