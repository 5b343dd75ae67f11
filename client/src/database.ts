export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];

export type Database = {
  public: {
    Tables: {
      agent: {
        Row: {
          created_at: string;
          deleted_at: string | null;
          id: string;
          name: string | null;
          plan_id: string;
          session_id: string;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          created_at?: string;
          deleted_at?: string | null;
          id?: string;
          name?: string | null;
          plan_id: string;
          session_id: string;
          status?: string;
          team_id?: string | null;
          updated_at?: string;
          user_id: string;
        };
        Update: {
          created_at?: string;
          deleted_at?: string | null;
          id?: string;
          name?: string | null;
          plan_id?: string;
          session_id?: string;
          status?: string;
          team_id?: string | null;
          updated_at?: string;
          user_id?: string;
        };
        Relationships: [
          {
            foreignKeyName: "agent_plan_fkey";
            columns: ["user_id", "session_id", "plan_id"];
            isOneToOne: false;
            referencedRelation: "plan";
            referencedColumns: ["user_id", "session_id", "id"];
          },
        ];
      };
      agent_event: {
        Row: {
          actor: string | null;
          actor_role: string;
          agent_id: string;
          created_at: string;
          document_sha256: string;
          from_status: string | null;
          id: number;
          kind: string;
          plan_id: string;
          team_id: string | null;
          to_status: string;
          user_id: string;
          version: number;
        };
        ComputedFields: never;
        Insert: {
          actor?: string | null;
          actor_role: string;
          agent_id: string;
          created_at?: string;
          document_sha256: string;
          from_status?: string | null;
          id?: never;
          kind: string;
          plan_id: string;
          team_id?: string | null;
          to_status: string;
          user_id: string;
          version: number;
        };
        Update: {
          actor?: string | null;
          actor_role?: string;
          agent_id?: string;
          created_at?: string;
          document_sha256?: string;
          from_status?: string | null;
          id?: never;
          kind?: string;
          plan_id?: string;
          team_id?: string | null;
          to_status?: string;
          user_id?: string;
          version?: number;
        };
        Relationships: [
          {
            foreignKeyName: "agent_event_agent_fkey";
            columns: ["agent_id", "user_id"];
            isOneToOne: false;
            referencedRelation: "agent";
            referencedColumns: ["id", "user_id"];
          },
          {
            foreignKeyName: "agent_event_plan_fkey";
            columns: ["plan_id", "user_id"];
            isOneToOne: false;
            referencedRelation: "plan";
            referencedColumns: ["id", "user_id"];
          },
        ];
      };
      build: {
        Row: {
          agent_id: string;
          attempt: number;
          created_at: string;
          finished_at: string | null;
          id: string;
          max_attempts: number;
          message: string | null;
          plan_id: string;
          progress: number | null;
          result: Json | null;
          run_after: string;
          started_at: string | null;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
          worker: string | null;
        };
        ComputedFields: never;
        Insert: {
          agent_id: string;
          attempt?: number;
          created_at?: string;
          finished_at?: string | null;
          id?: string;
          max_attempts?: number;
          message?: string | null;
          plan_id: string;
          progress?: number | null;
          result?: Json | null;
          run_after?: string;
          started_at?: string | null;
          status?: string;
          team_id?: string | null;
          updated_at?: string;
          user_id: string;
          worker?: string | null;
        };
        Update: {
          agent_id?: string;
          attempt?: number;
          created_at?: string;
          finished_at?: string | null;
          id?: string;
          max_attempts?: number;
          message?: string | null;
          plan_id?: string;
          progress?: number | null;
          result?: Json | null;
          run_after?: string;
          started_at?: string | null;
          status?: string;
          team_id?: string | null;
          updated_at?: string;
          user_id?: string;
          worker?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "build_agent_fkey";
            columns: ["agent_id", "user_id"];
            isOneToOne: false;
            referencedRelation: "agent";
            referencedColumns: ["id", "user_id"];
          },
          {
            foreignKeyName: "build_plan_fkey";
            columns: ["plan_id", "user_id"];
            isOneToOne: false;
            referencedRelation: "plan";
            referencedColumns: ["id", "user_id"];
          },
        ];
      };
      build_log: {
        Row: {
          attempt: number;
          build_id: string;
          content: string;
          created_at: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
        };
        ComputedFields: never;
        Insert: {
          attempt: number;
          build_id: string;
          content: string;
          created_at?: string;
          team_id?: string | null;
          updated_at?: string;
          user_id: string;
        };
        Update: {
          attempt?: number;
          build_id?: string;
          content?: string;
          created_at?: string;
          team_id?: string | null;
          updated_at?: string;
          user_id?: string;
        };
        Relationships: [
          {
            foreignKeyName: "build_log_build_fkey";
            columns: ["build_id"];
            isOneToOne: false;
            referencedRelation: "build";
            referencedColumns: ["id"];
          },
        ];
      };
      plan: {
        Row: {
          comment: string | null;
          comments: Json | null;
          created_at: string;
          decided_aal: string | null;
          decided_at: string | null;
          decided_by: string | null;
          decided_via: string | null;
          deleted_at: string | null;
          document_id: string;
          document_path: string;
          document_sha256: string;
          document_url: string;
          expires_at: string | null;
          id: string;
          message: string | null;
          proposed_by: string | null;
          session_id: string;
          status: string;
          team_id: string | null;
          title: string;
          updated_at: string;
          user_id: string;
          version: number;
        };
        ComputedFields: never;
        Insert: {
          comment?: string | null;
          comments?: Json | null;
          created_at?: string;
          decided_aal?: string | null;
          decided_at?: string | null;
          decided_by?: string | null;
          decided_via?: string | null;
          deleted_at?: string | null;
          document_id: string;
          document_path: string;
          document_sha256: string;
          document_url: string;
          expires_at?: string | null;
          id?: string;
          message?: string | null;
          proposed_by?: string | null;
          session_id: string;
          status?: string;
          team_id?: string | null;
          title: string;
          updated_at?: string;
          user_id: string;
          version: number;
        };
        Update: {
          comment?: string | null;
          comments?: Json | null;
          created_at?: string;
          decided_aal?: string | null;
          decided_at?: string | null;
          decided_by?: string | null;
          decided_via?: string | null;
          deleted_at?: string | null;
          document_id?: string;
          document_path?: string;
          document_sha256?: string;
          document_url?: string;
          expires_at?: string | null;
          id?: string;
          message?: string | null;
          proposed_by?: string | null;
          session_id?: string;
          status?: string;
          team_id?: string | null;
          title?: string;
          updated_at?: string;
          user_id?: string;
          version?: number;
        };
        Relationships: [];
      };
    };
    Views: {
      [_ in never]: never;
    };
    Functions: {
      approve_plan: {
        Args: {
          comment?: string;
          comments?: Json;
          document_sha256?: string;
          document_url?: string;
          session_id: string;
          title?: string;
          user_id?: string;
          version: number;
        };
        Returns: Database["public"]["CompositeTypes"]["plan_approval"];
        SetofOptions: {
          from: "*";
          to: "plan_approval";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      claim_builds: {
        Args: { lease_seconds?: number; max_builds?: number; worker: string };
        Returns: Database["public"]["CompositeTypes"]["build_claim"][];
        SetofOptions: {
          from: "*";
          to: "build_claim";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      claim_notifications: {
        Args: { lease_seconds?: number; max_notifications?: number; subscriber: string };
        Returns: Database["public"]["CompositeTypes"]["notification_claim"][];
        SetofOptions: {
          from: "*";
          to: "notification_claim";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      delete_agent: {
        Args: { agent_id: string };
        Returns: {
          created_at: string;
          deleted_at: string | null;
          id: string;
          name: string | null;
          plan_id: string;
          session_id: string;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
        };
        SetofOptions: {
          from: "*";
          to: "agent";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      deleted_agents: {
        Args: Record<PropertyKey, never>;
        Returns: {
          created_at: string;
          deleted_at: string | null;
          id: string;
          name: string | null;
          plan_id: string;
          session_id: string;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
        }[];
        SetofOptions: {
          from: "*";
          to: "agent";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      display_names: {
        Args: { plan_ids: string[] };
        Returns: Database["public"]["CompositeTypes"]["display_name"][];
        SetofOptions: {
          from: "*";
          to: "display_name";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      fail_build: {
        Args: { attempt: number; build_id: string; log?: string; message: string; retry?: boolean };
        Returns: {
          agent_id: string;
          attempt: number;
          created_at: string;
          finished_at: string | null;
          id: string;
          max_attempts: number;
          message: string | null;
          plan_id: string;
          progress: number | null;
          result: Json | null;
          run_after: string;
          started_at: string | null;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
          worker: string | null;
        };
        SetofOptions: {
          from: "*";
          to: "build";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      fail_notification: {
        Args: {
          attempt: number;
          message?: string;
          notification_id: number;
          retry?: boolean;
          retry_seconds?: number;
        };
        Returns: boolean;
      };
      finish_build: {
        Args: { attempt: number; build_id: string; log?: string; result?: Json };
        Returns: {
          created_at: string;
          deleted_at: string | null;
          id: string;
          name: string | null;
          plan_id: string;
          session_id: string;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
        };
        SetofOptions: {
          from: "*";
          to: "agent";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      finish_notification: { Args: { attempt: number; notification_id: number }; Returns: boolean };
      forget_subscriber: { Args: { subscriber: string }; Returns: boolean };
      installation: { Args: Record<PropertyKey, never>; Returns: Json };
      latest_changes: {
        Args: {
          agent_ids?: string[];
          decided?: boolean;
          session_ids?: string[];
          user_ids?: string[];
          waiting?: boolean;
        };
        Returns: Json;
      };
      orphaned_documents: {
        Args: { after_name?: string; batch_size?: number; older_than: string };
        Returns: {
          created_at: string;
          id: string;
          name: string;
        }[];
      };
      plan_teams: {
        Args: Record<PropertyKey, never>;
        Returns: Database["public"]["CompositeTypes"]["plan_team"][];
        SetofOptions: {
          from: "*";
          to: "plan_team";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      propose_plan: {
        Args: {
          document_sha256: string;
          document_url: string;
          expires_at?: string;
          message?: string;
          session_id: string;
          team_id?: string;
          title: string;
          user_id?: string;
          version: number;
        };
        Returns: Database["public"]["CompositeTypes"]["plan_proposal"];
        SetofOptions: {
          from: "*";
          to: "plan_proposal";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      purge_build_logs: { Args: { batch_size?: number; ended_before: string }; Returns: number };
      purge_closed_plans: { Args: { batch_size?: number; closed_before: string }; Returns: number };
      purge_deleted_agents: { Args: { batch_size?: number; deleted_before: string }; Returns: number };
      purge_notifications: { Args: { batch_size?: number; before: string }; Returns: number };
      reject_plan: {
        Args: { comment?: string; comments?: Json; session_id: string; user_id?: string; version: number };
        Returns: {
          comment: string | null;
          comments: Json | null;
          created_at: string;
          decided_aal: string | null;
          decided_at: string | null;
          decided_by: string | null;
          decided_via: string | null;
          deleted_at: string | null;
          document_id: string;
          document_path: string;
          document_sha256: string;
          document_url: string;
          expires_at: string | null;
          id: string;
          message: string | null;
          proposed_by: string | null;
          session_id: string;
          status: string;
          team_id: string | null;
          title: string;
          updated_at: string;
          user_id: string;
          version: number;
        };
        SetofOptions: {
          from: "*";
          to: "plan";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      renew_build: {
        Args: {
          attempt: number;
          build_id: string;
          lease_seconds?: number;
          log?: string;
          message?: string;
          progress?: number;
        };
        Returns: {
          agent_id: string;
          attempt: number;
          created_at: string;
          finished_at: string | null;
          id: string;
          max_attempts: number;
          message: string | null;
          plan_id: string;
          progress: number | null;
          result: Json | null;
          run_after: string;
          started_at: string | null;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
          worker: string | null;
        };
        SetofOptions: {
          from: "*";
          to: "build";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      request_changes: {
        Args: { comment?: string; comments?: Json; session_id: string; user_id?: string; version: number };
        Returns: {
          comment: string | null;
          comments: Json | null;
          created_at: string;
          decided_aal: string | null;
          decided_at: string | null;
          decided_by: string | null;
          decided_via: string | null;
          deleted_at: string | null;
          document_id: string;
          document_path: string;
          document_sha256: string;
          document_url: string;
          expires_at: string | null;
          id: string;
          message: string | null;
          proposed_by: string | null;
          session_id: string;
          status: string;
          team_id: string | null;
          title: string;
          updated_at: string;
          user_id: string;
          version: number;
        };
        SetofOptions: {
          from: "*";
          to: "plan";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      restore_agent: {
        Args: { agent_id: string };
        Returns: {
          created_at: string;
          deleted_at: string | null;
          id: string;
          name: string | null;
          plan_id: string;
          session_id: string;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
        };
        SetofOptions: {
          from: "*";
          to: "agent";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      retry_build: {
        Args: { agent_id: string };
        Returns: {
          created_at: string;
          deleted_at: string | null;
          id: string;
          name: string | null;
          plan_id: string;
          session_id: string;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
        };
        SetofOptions: {
          from: "*";
          to: "agent";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      stop_build: {
        Args: { agent_id: string };
        Returns: {
          created_at: string;
          deleted_at: string | null;
          id: string;
          name: string | null;
          plan_id: string;
          session_id: string;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
        };
        SetofOptions: {
          from: "*";
          to: "agent";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      transition_agent: {
        Args: { agent_id: string; to_status: string };
        Returns: {
          created_at: string;
          deleted_at: string | null;
          id: string;
          name: string | null;
          plan_id: string;
          session_id: string;
          status: string;
          team_id: string | null;
          updated_at: string;
          user_id: string;
        };
        SetofOptions: {
          from: "*";
          to: "agent";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      withdraw_plan: {
        Args: { session_id: string; user_id?: string; version: number };
        Returns: {
          comment: string | null;
          comments: Json | null;
          created_at: string;
          decided_aal: string | null;
          decided_at: string | null;
          decided_by: string | null;
          decided_via: string | null;
          deleted_at: string | null;
          document_id: string;
          document_path: string;
          document_sha256: string;
          document_url: string;
          expires_at: string | null;
          id: string;
          message: string | null;
          proposed_by: string | null;
          session_id: string;
          status: string;
          team_id: string | null;
          title: string;
          updated_at: string;
          user_id: string;
          version: number;
        };
        SetofOptions: {
          from: "*";
          to: "plan";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
    };
    Enums: {
      [_ in never]: never;
    };
    CompositeTypes: {
      build_claim: {
        build_id: string | null;
        attempt: number | null;
        agent_id: string | null;
        plan_id: string | null;
        user_id: string | null;
        session_id: string | null;
        version: number | null;
        title: string | null;
        document_path: string | null;
        document_sha256: string | null;
        lease_expires_at: string | null;
        max_attempts: number | null;
        comment: string | null;
        comments: Json | null;
        team_id: string | null;
      };
      display_name: {
        user_id: string | null;
        name: string | null;
      };
      notification_claim: {
        notification_id: number | null;
        attempt: number | null;
        event_id: string | null;
        kind: string | null;
        occurred_at: string | null;
        user_id: string | null;
        email: string | null;
        approver_emails: string[] | null;
        data: Json | null;
      };
      plan_approval: {
        plan_id: string | null;
        agent_id: string | null;
        agent_status: string | null;
        version: number | null;
        created: boolean | null;
      };
      plan_proposal: {
        plan_id: string | null;
        version: number | null;
        status: string | null;
        created: boolean | null;
      };
      plan_team: {
        team_id: string | null;
        may_decide: boolean | null;
        may_decide_own: boolean | null;
      };
    };
  };
};

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">;

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">];

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    keyof (DefaultSchema["Tables"] & DefaultSchema["Views"]) | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R;
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
        Row: infer R;
      }
      ? R
      : never
    : never;

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    keyof DefaultSchema["Tables"] | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I;
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Insert: infer I;
      }
      ? I
      : never
    : never;

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    keyof DefaultSchema["Tables"] | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U;
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Update: infer U;
      }
      ? U
      : never
    : never;

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    keyof DefaultSchema["Enums"] | { schema: keyof DatabaseWithoutInternals },
  EnumName extends (DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never) = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
    : never;

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    keyof DefaultSchema["CompositeTypes"] | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends (PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never) = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
    : never;
