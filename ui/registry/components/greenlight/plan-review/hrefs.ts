import { createContext } from "react";

/** Where links of the review lead. One that is absent is not shown. */
export interface Hrefs {
  agent?: (agentId: string) => string;
  plans?: string;
  signIn?: string;
}

export const HrefsContext = createContext<Hrefs>({});
