import { Shell } from "@/components/shell";

export default function PlansLayout({ children }: { children: React.ReactNode }) {
  return <Shell path="/plans">{children}</Shell>;
}
