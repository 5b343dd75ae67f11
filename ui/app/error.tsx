"use client";

import { RotateCw } from "lucide-react";
import { Notice } from "@/components/notice";

export default function ErrorPage({ reset }: { reset: () => void }) {
  return (
    <main id="content">
      <Notice title="This page could not be loaded">
        <p>The service is down or busy. Nothing is lost: your drafts are kept in this browser.</p>
        <p>
          <button className="button" type="button" onClick={reset}>
            <RotateCw aria-hidden /> Try again
          </button>
        </p>
      </Notice>
    </main>
  );
}
