import { errorMessage, type ErrorCode } from "@/lib/greenlight/errors";

/** The result of an action. */
export type Result<T> =
  | { success: true; data: T }
  | {
      success: false;
      code: ErrorCode;
      /** The message for the user. */
      error: string;
    };

export function failure(code: ErrorCode) {
  return { success: false, code, error: errorMessage(code) } as const;
}
