import { createContext } from "react";

/** Where links of the review lead. One that is absent is not shown. */
export interface Hrefs {
  agent?: (agentId: string) => string;
  plans?: string;
  signIn?: string;
  /** Where the user verifies a second factor, or signs in again, and comes back. */
  stepUp?: string;
}

export const HrefsContext = createContext<Hrefs>({});
