// For Deno, if it imports this file directly.
// @ts-self-types="./types.d.ts"

export {
  archiveAgent,
  deleteAgent,
  deletedAgents,
  getAgent,
  listAgents,
  listEvents,
  pauseAgent,
  restoreAgent,
  resumeAgent,
  retryBuild,
} from "./agents.js";
export { getDocument } from "./documents.js";
export { GreenlightError } from "./errors.js";
export {
  approvePlan,
  getPlan,
  getPlanningSession,
  getPreviousDecision,
  listProposals,
  proposePlan,
  rejectPlan,
  requestChanges,
  withdrawPlan,
} from "./plans.js";
export { watch, watchAgent, watchProposal } from "./watch.js";
