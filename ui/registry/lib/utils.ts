import { clsx, type ClassValue } from "clsx";
import { twMerge } from "tailwind-merge";

/** Class names, of which a later one replaces an earlier one for the same thing. */
export function cn(...inputs: ClassValue[]) {
  return twMerge(clsx(inputs));
}
