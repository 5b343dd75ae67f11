export {
  archiveAgent,
  deleteAgent,
  deletedAgents,
  getAgent,
  getBuildLog,
  listAgents,
  listBuilds,
  listEvents,
  pauseAgent,
  restoreAgent,
  resumeAgent,
  retryBuild,
  shownResult,
  stopBuild,
} from "./agents";
export { agentMarks, listMarks, sessionMarks } from "./changes";
export { commentOn, feedback, locateComment } from "./comments";
export { waitForDecision } from "./decision";
export { decodeDocument, documentProblem, getDocument, MAX_DOCUMENT_BYTES, sha256 } from "./documents";
export { GreenlightError } from "./errors";
export {
  approvePlan,
  getPlan,
  getPlanningSession,
  getPreviousDecision,
  listProposals,
  MAX_COMMENT_LENGTH,
  MAX_TITLE_LENGTH,
  proposePlan,
  rejectPlan,
  requestChanges,
  SESSION_ID,
  withdrawPlan,
} from "./plans";
export { displayNames, mayDecide, mayManage, planTeams, reader } from "./teams";
export { CHANGING_MS, SETTLED_MS, watch, watchAgent, watchProposal, watchShown } from "./watch";

export type { Changes, ListMark, Shown } from "./changes";
export type { Selection } from "./comments";
export type { Decision } from "./decision";
export type { DatabaseErrorCode, ErrorCode } from "./errors";
export type { NewDocument, PlanVersion, Remarks } from "./plans";
export type {
  Agent,
  AgentDetails,
  AgentEvent,
  AgentStatus,
  AgentSummary,
  Approval,
  Build,
  BuildDetails,
  BuildLog,
  BuildStatus,
  Database,
  DisplayName,
  ListedPlan,
  Plan,
  PlanComment,
  PlanStatus,
  PlanTeam,
  Proposal,
  Supabase,
} from "./types";
export type { Reader } from "./teams";
export type { RealtimeOptions, ShownOptions, Source, WatchOptions } from "./watch";
