import type { Metadata } from "next";
import { signIn } from "@/actions/auth";
import { AuthForm } from "@/components/auth-form";

export const metadata: Metadata = { title: "Sign in" };

export default function SignInPage() {
  return (
    <AuthForm
      action={signIn}
      title="Sign in"
      submit="Sign in"
      fields={["email", "password"]}
      other={{ question: "New here?", label: "Create an account", href: "/sign-up" }}
    />
  );
}
