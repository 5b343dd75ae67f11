import { Shell } from "@/components/shell";

export default function AgentsLayout({ children }: { children: React.ReactNode }) {
  return <Shell path="/agents">{children}</Shell>;
}
