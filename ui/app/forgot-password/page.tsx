import type { Metadata } from "next";
import { requestPasswordReset } from "@/actions/auth";
import { AuthForm } from "@/components/auth-form";

export const metadata: Metadata = { title: "Reset your password" };

export default function ForgotPasswordPage() {
  return (
    <AuthForm
      action={requestPasswordReset}
      title="Reset your password"
      submit="Send the link"
      fields={["email"]}
      other={{ question: "Remember it?", label: "Sign in", href: "/sign-in" }}
    />
  );
}
