"use client";

import { archiveAgent, pauseAgent, type AgentDetails, type Supabase } from "greenlight-client";
import { Archive, Ellipsis, Pause, Trash2 } from "lucide-react";
import { useRef, useState } from "react";
import { useConfirm } from "@/components/greenlight/confirm";
import { PlainText } from "@/components/greenlight/plain-text";
import { Button } from "@/components/ui/button";
import {
  DropdownMenu,
  DropdownMenuContent,
  DropdownMenuItem,
  DropdownMenuSeparator,
  DropdownMenuTrigger,
} from "@/components/ui/dropdown-menu";

const QUESTIONS = {
  pause: { word: "Pause", question: "It stops working until you resume it." },
  archive: {
    word: "Archive",
    question:
      "This is final: an archived agent stops working and cannot get a new plan. You can still read its history.",
  },
  delete: {
    word: "Delete",
    question:
      "The agent and its plans disappear from your lists. You can restore them from Recently deleted.",
  },
};

interface Props {
  agent: AgentDetails;
  busy: boolean;
  act: (call: (supabase: Supabase, id: string) => Promise<unknown>, done: string) => void;
  onDelete: () => void;
}

/** What is done with an agent rarely. Each asks first. */
export function AgentMenu({ agent: { name, status }, busy, act, onDelete }: Props) {
  const trigger = useRef<HTMLButtonElement>(null);
  const { ask, dialog } = useConfirm(trigger);
  const [kind, setKind] = useState<keyof typeof QUESTIONS>("pause");
  const { word, question } = QUESTIONS[kind];
  const doIt = {
    pause: () => {
      act(pauseAgent, "Agent paused");
    },
    archive: () => {
      act(archiveAgent, "Agent archived");
    },
    delete: onDelete,
  };

  function choose(kind: keyof typeof QUESTIONS) {
    setKind(kind);
    void ask();
  }

  return (
    <>
      <DropdownMenu modal={false}>
        <DropdownMenuTrigger asChild>
          <Button ref={trigger} variant="outline" size="icon" aria-label="More actions" disabled={busy}>
            <Ellipsis aria-hidden />
          </Button>
        </DropdownMenuTrigger>
        <DropdownMenuContent align="end" className="min-w-44">
          {status === "active" && (
            <DropdownMenuItem
              onSelect={() => {
                choose("pause");
              }}
            >
              <Pause aria-hidden /> Pause
            </DropdownMenuItem>
          )}
          {status !== "archived" && (
            <>
              <DropdownMenuItem
                onSelect={() => {
                  choose("archive");
                }}
              >
                <Archive aria-hidden /> Archive
              </DropdownMenuItem>
              <DropdownMenuSeparator />
            </>
          )}
          <DropdownMenuItem
            variant="destructive"
            onSelect={() => {
              choose("delete");
            }}
          >
            <Trash2 aria-hidden /> Delete
          </DropdownMenuItem>
        </DropdownMenuContent>
      </DropdownMenu>
      {dialog({
        title: about(word, name),
        question,
        confirm: word,
        danger: kind !== "pause",
        onConfirm: doIt[kind],
      })}
    </>
  );
}

/** A planner chooses the name: isolated, it cannot turn around the words beside it. */
export function about(act: string, name: string | null) {
  return (
    <>
      {act} <PlainText>{name ?? ""}</PlainText>?
    </>
  );
}
