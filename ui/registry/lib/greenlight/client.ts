export * from "greenlight-client";
