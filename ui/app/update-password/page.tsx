import type { Metadata } from "next";
import { updatePassword } from "@/actions/auth";
import { AuthForm } from "@/components/auth-form";
import { requireUser } from "@/lib/supabase/server";

export const metadata: Metadata = { title: "Choose a new password" };

/** The link of the reset mail signs the user in and leads here. */
export default async function UpdatePasswordPage() {
  await requireUser("/update-password");
  return (
    <AuthForm
      action={updatePassword}
      title="Choose a new password"
      submit="Save the password"
      fields={["new-password"]}
      other={{ question: "Changed your mind?", label: "Go to your agents", href: "/agents" }}
    />
  );
}
