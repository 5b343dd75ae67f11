"use client";

import { createContext, createElement, use, type ComponentProps, type ElementType } from "react";

/** The link of the app's router, like next/link. Without it, a link loads its page. */
export const LinkContext = createContext<ElementType<{ href: string }>>("a");

export function AppLink(props: ComponentProps<"a"> & { href: string }) {
  return createElement(use(LinkContext), props);
}
