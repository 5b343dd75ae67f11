import type { Metadata } from "next";
import { signUp } from "@/actions/auth";
import { AuthForm } from "@/components/auth-form";

export const metadata: Metadata = { title: "Create an account" };

export default function SignUpPage() {
  return (
    <AuthForm
      action={signUp}
      title="Create an account"
      submit="Create account"
      fields={["email", "new-password"]}
      other={{ question: "Have an account?", label: "Sign in", href: "/sign-in" }}
    />
  );
}
